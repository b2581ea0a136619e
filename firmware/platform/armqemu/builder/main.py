"""SCons script of the armqemu platform."""

import os

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
here = env.PioPlatform().get_dir()
machine = board.get("build.mcu")
machine_flags = ["-mthumb", *board.get("build.machine_flags").split()]
memory = board.get("build.memory")

prefix = "arm-none-eabi-"
env.Replace(
    AR=prefix + "gcc-ar",
    AS=prefix + "gcc",
    CC=prefix + "gcc",
    CXX=prefix + "g++",
    GDB="gdb-multiarch",
    RANLIB=prefix + "gcc-ranlib",
    SIZETOOL=prefix + "size",
    ARFLAGS=["rcs"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    LDSCRIPT_PATH=os.path.join(here, "ldscripts", "cortexm.ld"),
    # added up against the board's upload.maximum_size and _ram_size
    SIZEPROGREGEXP=r"^(?:\.vectors|\.text|\.data|\.ARM\.exidx)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
env.Append(
    ASFLAGS=machine_flags,
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CCFLAGS=[
        *machine_flags,
        *("--specs=nano.specs", "-O2", "-g"),
        *("-ffunction-sections", "-fdata-sections", "-fno-common"),
    ],
    LINKFLAGS=[
        *machine_flags,
        *("--specs=nano.specs", "--specs=nosys.specs", "-nostartfiles"),
        *("-Wl,--gc-sections", "-Wl,--fatal-warnings"),
        "-Wl,-Map=" + os.path.join("$BUILD_DIR", "firmware.map"),
        *(f"-Wl,--defsym={name}={value}" for name, value in memory.items()),
    ],
    CPPPATH=[os.path.join(here, "runtime")],
    CPPDEFINES=[("BOARD_CORE", env.StringifyMacro(board.get("build.cpu")))],
    # as objects, not as an archive: the vectors are referred to by nothing
    PIOBUILDFILES=env.CollectBuildFiles(
        os.path.join("$BUILD_DIR", "runtime"), os.path.join(here, "runtime")
    ),
)

elf = env.BuildProgram()
env.Depends(elf, env["LDSCRIPT_PATH"])
AlwaysBuild(env.Alias("buildprog", elf, elf))
env.AddPlatformTarget(
    "size", elf, env.VerboseAction("$SIZEPRINTCMD", "Sizes of $SOURCE"), "Program size"
)
env.AddPlatformTarget(
    "exec",
    elf,
    env.VerboseAction(
        f"qemu-system-arm -M {machine} -display none -monitor none -serial none"
        " -semihosting-config enable=on,target=native -kernel $SOURCE",
        f"Running $SOURCE on QEMU's {machine}",
    ),
    "Run on QEMU",
)
Default(elf)
