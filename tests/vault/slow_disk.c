/* A disk that does not respond, loaded with LD_PRELOAD: to open the file of the cache takes until somebody writes to the named
   pipe SLOW_DISK, or no time if there is none. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for_disk(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *pipe = getenv("SLOW_DISK");
    if (!pipe || !name || strcmp(name, "/vault-secrets") != 0)
        return;
    int opened = syscall(SYS_openat, AT_FDCWD, pipe, O_RDONLY | O_CLOEXEC);
    if (opened >= 0)
        close(opened);
}

static int open_later(const char *path, int flags, va_list more)
{
    int creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode = creates ? va_arg(more, mode_t) : 0;
    wait_for_disk(path);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int opened = open_later(path, flags, more);
    va_end(more);
    return opened;
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int opened = open_later(path, flags, more);
    va_end(more);
    return opened;
}
