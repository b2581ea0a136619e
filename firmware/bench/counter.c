/* counter.c - a plugin for QEMU: how often each block of code has run.
 *
 * It writes into a file that the counter (pyvgrad/emulated_qemu.py) maps, too.
 * What it needs of QEMU's plugin interface is declared here, for Debian's
 * package has no header of it; PLUGIN_VERSION is 1 before QEMU 9 and 2 since.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef void translated(uint64_t id, struct qemu_plugin_tb *tb);
typedef void executed(unsigned int cpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated *f);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          executed *f, int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc,
                               char **argv);

/* As pyvgrad/emulated_qemu.py reads them. */
struct block {
    uint32_t address, instructions;
    uint64_t runs;
};

int qemu_plugin_version = PLUGIN_VERSION;
static struct block
    *blocks; /* BLOCKS of them; the first of no instructions ends */

static struct block *block_of(uint32_t address, uint32_t instructions)
{
    struct block *b = blocks;

    while (b->instructions &&
           (b->address != address || b->instructions != instructions))
        if (++b == blocks + BLOCKS)
            abort();
    b->address = address;
    b->instructions = instructions;
    return b;
}

static void ran(unsigned int cpu, void *data)
{
    (void)cpu;
    ((struct block *)data)->runs++;
}

static void prepare(uint64_t id, struct qemu_plugin_tb *tb)
{
    struct block *b = block_of((uint32_t)qemu_plugin_tb_vaddr(tb),
                               (uint32_t)qemu_plugin_tb_n_insns(tb));

    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, ran, 0, b);
}

/* The one argument is counts=NAME, of BLOCKS zeroed blocks. */
int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    void *map;
    int file;

    (void)info;
    if (argc != 1 || strncmp(argv[0], "counts=", 7))
        return -1;
    file = open(argv[0] + 7, O_RDWR);
    if (file < 0)
        return -1;
    map = mmap(NULL, BLOCKS * sizeof *blocks, PROT_READ | PROT_WRITE,
               MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED)
        return -1;
    blocks = map;
    qemu_plugin_register_vcpu_tb_trans_cb(id, prepare);
    return 0;
}
