/* Fails the k-th call by which a process changes files below one folder, whoever makes it: Python, Rust, SQLite, C.

cc -shared -fPIC -O1 -o failing_calls.so failing_calls.c -ldl; LD_PRELOAD=…/failing_calls.so

    FAILING_BELOW   the folder; nothing is counted without it, nor before
    FAILING_AT      the call that fails, from 0; -1 for none. FAILING_ON=1: all that follow fail, too
    FAILING_COUNT   a file of 8 bytes: how many calls there were

What takes room fails as on a full disk (ENOSPC), the rest as on a broken one (EIO). Pages of mapped files are written by
the kernel and pass no call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[PATH_MAX];
static long at = -1, alone[1], *count = alone;
static int on;

void failing_arm(const char *folder, long number, int for_good, const char *counter) {
    int fd = open(counter, O_RDWR);
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) count = page;
        close(fd);
    }
    at = number, on = for_good;
    strncpy(below, folder, sizeof below - 1);
}

__attribute__((constructor)) static void begin(void) {
    char *folder = getenv("FAILING_BELOW"), *number = getenv("FAILING_AT"), *counter = getenv("FAILING_COUNT");
    if (folder && number && counter) failing_arm(folder, atol(number), getenv("FAILING_ON") != NULL, counter);
}

static int is_below(const char *path) {
    size_t length = strlen(below);
    return !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static int fails(int code) {
    long number = __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    if (at < 0 || number < at || (number > at && !on)) return 0;
    errno = code;
    return 1;
}

static int of_descriptor(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int fails_path(int folder, const char *path, int code) {
    char whole[2 * PATH_MAX];
    int kept = errno, found = 0;
    if (!*below || !path) return 0;
    if (*path == '/') found = is_below(path);
    else if (folder == AT_FDCWD ? getcwd(whole, PATH_MAX) != NULL : of_descriptor(folder, whole)) {
        strcat(whole, "/"), strncat(whole, path, PATH_MAX - 1);
        found = is_below(whole);
    }
    errno = kept;
    return found && fails(code);
}

static int fails_fd(int fd, int code) {
    char path[PATH_MAX];
    int kept = errno, found = *below && of_descriptor(fd, path) && is_below(path);
    errno = kept;
    return found && fails(code);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)
#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        MODE(flags) \
        return WRITES(flags) && fails_path(AT_FDCWD, path, ENOSPC) ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        MODE(flags) \
        return WRITES(flags) && fails_path(folder, path, ENOSPC) ? -1 : real(folder, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define BY_FD(type, name, code, parameters, arguments) \
    type name parameters { \
        static type (*real) parameters; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return fails_fd(fd, code) ? -1 : real arguments; \
    }
BY_FD(ssize_t, write, ENOSPC, (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pwrite, ENOSPC, (int fd, const void *data, size_t size, off_t place), (fd, data, size, place))
BY_FD(ssize_t, pwrite64, ENOSPC, (int fd, const void *data, size_t size, off64_t place), (fd, data, size, place))
BY_FD(ssize_t, writev, ENOSPC, (int fd, const struct iovec *parts, int number), (fd, parts, number))
BY_FD(int, ftruncate, EIO, (int fd, off_t size), (fd, size))
BY_FD(int, ftruncate64, EIO, (int fd, off64_t size), (fd, size))
BY_FD(int, fallocate, ENOSPC, (int fd, int mode, off_t place, off_t size), (fd, mode, place, size))
BY_FD(int, fsync, EIO, (int fd), (fd))
BY_FD(int, fdatasync, EIO, (int fd), (fd))
BY_FD(int, fchmod, EIO, (int fd, mode_t mode), (fd, mode))

ssize_t sendfile(int fd, int from, off_t *place, size_t size) {
    REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
    return fails_fd(fd, ENOSPC) ? -1 : real(fd, from, place, size);
}

ssize_t sendfile64(int fd, int from, off64_t *place, size_t size) {
    REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t);
    return fails_fd(fd, ENOSPC) ? -1 : real(fd, from, place, size);
}

ssize_t copy_file_range(int from, off64_t *start, int fd, off64_t *place, size_t size, unsigned flags) {
    REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
    return fails_fd(fd, ENOSPC) ? -1 : real(from, start, fd, place, size, flags);
}

size_t fwrite(const void *data, size_t size, size_t number, FILE *file) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    return *below && fails_fd(fileno(file), ENOSPC) ? 0 : real(data, size, number, file);
}

#define BY_PATH(name, code, parameters, arguments, folder, path) \
    int name parameters { \
        static int (*real) parameters; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return fails_path(folder, path, code) ? -1 : real arguments; \
    }
BY_PATH(mkdir, ENOSPC, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
BY_PATH(mkdirat, ENOSPC, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path)
BY_PATH(unlink, EIO, (const char *path), (path), AT_FDCWD, path)
BY_PATH(unlinkat, EIO, (int folder, const char *path, int flags), (folder, path, flags), folder, path)
BY_PATH(rmdir, EIO, (const char *path), (path), AT_FDCWD, path)
BY_PATH(remove, EIO, (const char *path), (path), AT_FDCWD, path)
BY_PATH(chmod, EIO, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
BY_PATH(fchmodat, EIO, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags), folder, path)
BY_PATH(truncate, EIO, (const char *path, off_t size), (path, size), AT_FDCWD, path)
BY_PATH(symlink, ENOSPC, (const char *to, const char *path), (to, path), AT_FDCWD, path)
BY_PATH(link, ENOSPC, (const char *from, const char *path), (from, path), AT_FDCWD, path)
BY_PATH(rename, EIO, (const char *from, const char *path), (from, path), AT_FDCWD, path)
BY_PATH(renameat, EIO, (int in, const char *from, int folder, const char *path), (in, from, folder, path), folder, path)
BY_PATH(renameat2, EIO, (int in, const char *from, int folder, const char *path, unsigned flags),
        (in, from, folder, path, flags), folder, path)
