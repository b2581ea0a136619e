"""SCons script of the hostnative platform."""

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
env.Replace(PROGNAME="program", SIZETOOL="size", SIZEPRINTCMD="$SIZETOOL $SOURCES")
env.Append(
    CCFLAGS=["-O2", "-g"],
    CPPDEFINES=[("BOARD_CORE", env.StringifyMacro("native"))],
)

program = env.BuildProgram()
AlwaysBuild(env.Alias("buildprog", program, program))
env.AddPlatformTarget(
    "exec", program, env.VerboseAction("$SOURCE", "Running $SOURCE"), "Run"
)
Default(program)
