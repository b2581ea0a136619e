/* syscalls.c - what newlib asks for; a program that does not use its stdio and
 * malloc links none of it but _exit. */
#include <stddef.h>
#include <sys/stat.h>

#include "semihost.h"

extern char end[], __stack_limit[];

void _exit(int code) __attribute__((noreturn));
void _init(void);
void _fini(void);
int _read(int fd, char *buf, int len);
int _write(int fd, const char *buf, int len);
int _close(int fd);
int _lseek(int fd, int offset, int whence);
int _fstat(int fd, struct stat *st);
int _isatty(int fd);
int _kill(int pid, int sig);
int _getpid(void);
void *_sbrk(ptrdiff_t more);

void _exit(int code)
{
    semihost_exit(code);
}

void _init(void)
{
}

void _fini(void)
{
}

int _read(int fd, char *buf, int len)
{
    (void)fd;
    return (int)semihost_read(buf, len);
}

int _write(int fd, const char *buf, int len)
{
    semihost_write(fd == 2 ? SEMIHOST_ERR : SEMIHOST_OUT, buf, len);
    return len;
}

int _close(int fd)
{
    (void)fd;
    return -1;
}

int _lseek(int fd, int offset, int whence)
{
    (void)fd;
    (void)offset;
    (void)whence;
    return 0;
}

int _fstat(int fd, struct stat *st)
{
    (void)fd;
    st->st_mode = S_IFCHR;
    return 0;
}

int _isatty(int fd)
{
    (void)fd;
    return 1;
}

int _kill(int pid, int sig)
{
    (void)pid;
    (void)sig;
    return -1;
}

int _getpid(void)
{
    return 1;
}

void *_sbrk(ptrdiff_t more)
{
    static char *brk = end;
    char *old = brk;

    /* cppcheck-suppress comparePointers */
    if (more > __stack_limit - brk)
        return (void *)-1;
    brk += more;
    return old;
}
