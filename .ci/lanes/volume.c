/* The folder of a volume of Databricks, imitated: loaded before a program's own libraries (LD_PRELOAD), this refuses
 * below the folder $VOLUME what a volume refuses: appending, writing anywhere but at the end, holes, links.
 * Errors are those that a volume gives: "Operation not supported". What it does not see: writing through mmap. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int path_inside(const char *path) {
    const char *volume = getenv("VOLUME");
    size_t n = volume ? strlen(volume) : 0;
    return n && !strncmp(path, volume, n) && (path[n] == '/' || !path[n]);
}

static int inside(const char *path) { /* a path that may not exist yet, relative or not */
    char full[PATH_MAX], folder[PATH_MAX];
    if (realpath(path, full)) return path_inside(full);
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash) return realpath(".", full) && path_inside(full);
    *slash = 0;
    return realpath(*folder ? folder : "/", full) && path_inside(full);
}

static int fd_inside(int fd) {
    char link[64], full[PATH_MAX];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, full, sizeof full - 1);
    errno = saved;
    if (n < 0) return 0;
    full[n] = 0;
    return path_inside(full);
}

static int refuse(void) { errno = EOPNOTSUPP; return -1; }

static int at_end(int fd, off_t offset) { /* is this the place where the file ends? */
    struct stat st;
    return fstat(fd, &st) || !S_ISREG(st.st_mode) || offset == st.st_size;
}

#define OPENS(name)                                                                      \
    int name(const char *path, int flags, ...) {                                         \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        if ((flags & O_APPEND) && (flags & O_ACCMODE) != O_RDONLY && inside(path)) return refuse(); \
        return REAL(name)(path, flags, mode);                                            \
    }
OPENS(open)
OPENS(open64)

#define OPENATS(name)                                                                    \
    int name(int at, const char *path, int flags, ...) {                                 \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        if ((flags & O_APPEND) && (flags & O_ACCMODE) != O_RDONLY                        \
            && (path[0] == '/' || at == AT_FDCWD) && inside(path)) return refuse();      \
        return REAL(name)(at, path, flags, mode);                                        \
    }
OPENATS(openat)
OPENATS(openat64)

/* The C library's own streams (fopen) do not pass through open and write above. */
static int stream_refused(const char *path, const char *mode) { return strchr(mode, 'a') && inside(path); }
FILE *fopen(const char *path, const char *mode) {
    if (stream_refused(path, mode)) { refuse(); return NULL; }
    return REAL(fopen)(path, mode);
}
FILE *fopen64(const char *path, const char *mode) {
    if (stream_refused(path, mode)) { refuse(); return NULL; }
    return REAL(fopen64)(path, mode);
}
size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    int fd = fileno(stream);
    if (fd > 2 && fd_inside(fd)) {
        off_t here = ftello(stream); /* counts what is still in the stream's buffer */
        struct stat st;
        fflush(stream);
        if (!fstat(fd, &st) && S_ISREG(st.st_mode) && here != st.st_size) { refuse(); return 0; }
    }
    return REAL(fwrite)(data, size, count, stream);
}

ssize_t write(int fd, const void *data, size_t n) {
    if (fd > 2 && n && fd_inside(fd)) {
        off_t here = lseek(fd, 0, SEEK_CUR);
        if (here >= 0 && !at_end(fd, here)) return refuse();
    }
    return REAL(write)(fd, data, n);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    if (fd > 2 && fd_inside(fd)) {
        off_t here = lseek(fd, 0, SEEK_CUR);
        if (here >= 0 && !at_end(fd, here)) return refuse();
    }
    return REAL(writev)(fd, parts, n);
}
#define PWRITES(name, type)                                                              \
    ssize_t name(int fd, const void *data, size_t n, type offset) {                      \
        if (fd > 2 && n && fd_inside(fd) && !at_end(fd, offset)) return refuse();        \
        return REAL(name)(fd, data, n, offset);                                          \
    }
PWRITES(pwrite, off_t)
PWRITES(pwrite64, off64_t)
int ftruncate(int fd, off_t size) {
    if (size && fd_inside(fd) && !at_end(fd, size)) return refuse();
    return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    if (size && fd_inside(fd) && !at_end(fd, size)) return refuse();
    return REAL(ftruncate64)(fd, size);
}
int posix_fallocate(int fd, off_t offset, off_t n) {
    return fd_inside(fd) ? EOPNOTSUPP : REAL(posix_fallocate)(fd, offset, n);
}
int link(const char *from, const char *to) { return inside(to) ? refuse() : REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return inside(to) ? refuse() : REAL(linkat)(a, from, b, to, flags);
}
int symlink(const char *from, const char *to) { return inside(to) ? refuse() : REAL(symlink)(from, to); }
