/* A disk that fails when a test says so: loaded before a program (LD_PRELOAD), it counts the
 * operations on files below one directory, and fails or kills at the one the test named.
 *
 * FILE_FAULTS is the path of a file with one `struct control`, which all processes share; the test
 * writes it. See tests/faults/faulty_disk.py.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, NOTE, ONCE, ONWARDS, KILL, TEAR };

struct control {
    int64_t count;  /* operations so far */
    int64_t at;     /* the one that fails, from 1 */
    int64_t hits;   /* how many failed */
    int32_t mode;
    int32_t error;  /* errno */
    int32_t leader; /* the program's first process, which dies with the one that is killed */
    int32_t spare;
    char root[2048];
    char log[2048];
    char only_name[64];   /* when set, only operations of this name count, */
    char only_path[1024]; /* and with this in their path */
    char hit[2 * PATH_MAX + 128]; /* the first that failed, as a line of the log */
};

/* What kind of operation it is: reads, changes, or changes that need room on the disk. */
enum kind { LOOKS, CHANGES, TAKES };

static struct control *control;
static const char *kinds[] = {"looks", "changes", "takes"};

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FILE_FAULTS");
    int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (file < 0)
        return;
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (shared != MAP_FAILED)
        control = shared;
}

/* The absolute path of `path` as seen from `directory`; of `directory` itself without one. */
static void resolve(int directory, const char *path, char *out)
{
    char link[64];
    ssize_t length;
    out[0] = 0;
    if (path && path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (directory == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = 0;
    if (length > 0 && path && path[0] && (size_t)length + strlen(path) + 2 < PATH_MAX) {
        out[length] = '/';
        strcpy(out + length + 1, path);
    }
}

static int is_below(const char *path)
{
    size_t length = strlen(control->root);
    return length && !strncmp(path, control->root, length) &&
           (path[length] == '/' || path[length] == 0);
}

static void note(const char *line, int length)
{
    int file = (int)syscall(SYS_openat, AT_FDCWD, control->log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    syscall(SYS_write, file, line, (size_t)length);
    syscall(SYS_close, file);
}

static int is_meant(const char *name, const char *path, const char *other)
{
    const char *wanted = control->only_path;
    if (control->only_name[0] && strcmp(control->only_name, name))
        return 0;
    return !wanted[0] || strstr(path, wanted) || strstr(other, wanted);
}

static void die(void)
{
    int own = (int)syscall(SYS_getpid), leader = control->leader;
    if (leader && leader != own)
        syscall(SYS_kill, leader, SIGKILL);
    syscall(SYS_kill, own, SIGKILL);
    for (;;)
        syscall(SYS_pause);
}

enum answer { GO_ON, FAIL, HALF_AND_FAIL, HALF_AND_DIE };

static enum answer decide(const char *name, enum kind kind, int directory, const char *path,
                          int directory2, const char *path2)
{
    char first[PATH_MAX], second[PATH_MAX] = "", line[2 * PATH_MAX + 128];
    int64_t number;
    int length;
    if (!control || control->mode == OFF)
        return GO_ON;
    resolve(directory, path, first);
    if (path2)
        resolve(directory2, path2, second);
    if (!is_below(first) && !(path2 && is_below(second)))
        return GO_ON;
    if (!is_meant(name, first, second))
        return GO_ON;
    number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    if (control->mode != NOTE && number < control->at)
        return GO_ON;
    length = snprintf(line, sizeof line, "%lld\t%s\t%s\t%s\t%s\n", (long long)number, name,
                      kinds[kind], first, second);
    if (control->mode == NOTE) {
        note(line, length);
        return GO_ON;
    }
    if (control->mode == ONWARDS) {
        if (control->error != EIO && kind != TAKES)
            return GO_ON;
    } else if (number != control->at) {
        return GO_ON;
    }
    int is_first = __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST) == 1;
    if (is_first)
        snprintf(control->hit, sizeof control->hit, "%s", line);
    if (control->mode == KILL)
        die();
    if (control->mode == TEAR)
        return HALF_AND_DIE;
    return is_first && control->mode == ONWARDS && kind == TAKES ? HALF_AND_FAIL : FAIL;
}

/* For everything but writes: 1 when the operation shall not be done. */
static int fails(const char *name, enum kind kind, int directory, const char *path, int directory2,
                 const char *path2)
{
    enum answer answer = decide(name, kind, directory, path, directory2, path2);
    if (answer == GO_ON)
        return 0;
    if (answer == HALF_AND_DIE)
        die();
    errno = control->error;
    return 1;
}

#define REAL(result, name, params)                                                                 \
    static result(*real) params;                                                                   \
    if (!real)                                                                                     \
        *(void **)&real = dlsym(RTLD_NEXT, #name);

#define ONE(result, failure, name, params, args, kind, directory, path)                            \
    result name params                                                                             \
    {                                                                                              \
        REAL(result, name, params)                                                                 \
        if (fails(#name, kind, directory, path, AT_FDCWD, NULL))                                   \
            return failure;                                                                        \
        return real args;                                                                          \
    }

#define TWO(name, params, args, kind, directory, path, directory2, path2)                          \
    int name params                                                                                \
    {                                                                                              \
        REAL(int, name, params)                                                                    \
        if (fails(#name, kind, directory, path, directory2, path2))                                \
            return -1;                                                                             \
        return real args;                                                                          \
    }

static enum kind of_flags(int flags)
{
    if (flags & (O_CREAT | O_TRUNC))
        return TAKES;
    return flags & (O_WRONLY | O_RDWR) ? CHANGES : LOOKS;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(int, name, (const char *, int, ...))                                                  \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = va_arg(rest, mode_t);                                                        \
        va_end(rest);                                                                              \
        if (fails(#name, of_flags(flags), AT_FDCWD, path, AT_FDCWD, NULL))                         \
            return -1;                                                                             \
        return real(path, flags, mode);                                                            \
    }

#define OPENAT(name)                                                                               \
    int name(int directory, const char *path, int flags, ...)                                      \
    {                                                                                              \
        REAL(int, name, (int, const char *, int, ...))                                             \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = va_arg(rest, mode_t);                                                        \
        va_end(rest);                                                                              \
        if (fails(#name, of_flags(flags), directory, path, AT_FDCWD, NULL))                        \
            return -1;                                                                             \
        return real(directory, path, flags, mode);                                                 \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* A full disk takes the beginning of what is written; a kill may come in the middle. */
#define WRITE(name, params, half, args)                                                            \
    ssize_t name params                                                                            \
    {                                                                                              \
        REAL(ssize_t, name, params)                                                                \
        enum answer answer = decide(#name, TAKES, file, NULL, AT_FDCWD, NULL);                     \
        if (answer == GO_ON)                                                                       \
            return real args;                                                                      \
        if (answer != FAIL && count > 1) {                                                         \
            ssize_t written = real half;                                                           \
            if (answer == HALF_AND_FAIL)                                                           \
                return written;                                                                    \
        }                                                                                          \
        if (answer == HALF_AND_DIE)                                                                \
            die();                                                                                 \
        errno = control->error;                                                                    \
        return -1;                                                                                 \
    }

WRITE(write, (int file, const void *data, size_t count), (file, data, count / 2),
      (file, data, count))
WRITE(pwrite, (int file, const void *data, size_t count, off_t at), (file, data, count / 2, at),
      (file, data, count, at))
WRITE(pwrite64, (int file, const void *data, size_t count, off64_t at),
      (file, data, count / 2, at), (file, data, count, at))

ONE(ssize_t, -1, writev, (int file, const struct iovec *data, int count), (file, data, count),
    TAKES, file, NULL)
ONE(ssize_t, -1, sendfile64, (int file, int from, off64_t *at, size_t count),
    (file, from, at, count), TAKES, file, NULL)
ONE(ssize_t, -1, copy_file_range,
    (int from, off64_t *at, int file, off64_t *to, size_t count, unsigned flags),
    (from, at, file, to, count, flags), TAKES, file, NULL)
ONE(int, -1, ftruncate, (int file, off_t length), (file, length), CHANGES, file, NULL)
ONE(int, -1, ftruncate64, (int file, off64_t length), (file, length), CHANGES, file, NULL)
ONE(int, -1, truncate64, (const char *path, off64_t length), (path, length), CHANGES, AT_FDCWD,
    path)
ONE(int, control->error, posix_fallocate64, (int file, off64_t at, off64_t length),
    (file, at, length), TAKES, file, NULL)
/* A full disk may be noticed only here (NFS, quotas, delayed allocation). */
ONE(int, -1, fsync, (int file), (file), TAKES, file, NULL)
ONE(int, -1, fdatasync, (int file), (file), TAKES, file, NULL)
ONE(int, -1, mkdir, (const char *path, mode_t mode), (path, mode), TAKES, AT_FDCWD, path)
ONE(int, -1, mkdirat, (int directory, const char *path, mode_t mode), (directory, path, mode),
    TAKES, directory, path)
ONE(int, -1, rmdir, (const char *path), (path), CHANGES, AT_FDCWD, path)
ONE(int, -1, unlink, (const char *path), (path), CHANGES, AT_FDCWD, path)
ONE(int, -1, unlinkat, (int directory, const char *path, int flags), (directory, path, flags),
    CHANGES, directory, path)
ONE(int, -1, chmod, (const char *path, mode_t mode), (path, mode), CHANGES, AT_FDCWD, path)
ONE(int, -1, fchmod, (int file, mode_t mode), (file, mode), CHANGES, file, NULL)
ONE(int, -1, fchmodat, (int directory, const char *path, mode_t mode, int flags),
    (directory, path, mode, flags), CHANGES, directory, path)
ONE(int, -1, utimensat,
    (int directory, const char *path, const struct timespec times[2], int flags),
    (directory, path, times, flags), CHANGES, directory, path)
ONE(int, -1, futimens, (int file, const struct timespec times[2]), (file, times), CHANGES, file,
    NULL)
ONE(int, -1, flock, (int file, int how), (file, how), CHANGES, file, NULL)

TWO(rename, (const char *path, const char *path2), (path, path2), TAKES, AT_FDCWD, path, AT_FDCWD,
    path2)
TWO(renameat, (int directory, const char *path, int directory2, const char *path2),
    (directory, path, directory2, path2), TAKES, directory, path, directory2, path2)
TWO(link, (const char *path, const char *path2), (path, path2), TAKES, AT_FDCWD, path, AT_FDCWD,
    path2)
TWO(linkat, (int directory, const char *path, int directory2, const char *path2, int flags),
    (directory, path, directory2, path2, flags), TAKES, directory, path, directory2, path2)
ONE(int, -1, symlink, (const char *target, const char *path), (target, path), TAKES, AT_FDCWD, path)

ONE(ssize_t, -1, read, (int file, void *data, size_t count), (file, data, count), LOOKS, file, NULL)
ONE(ssize_t, -1, pread64, (int file, void *data, size_t count, off64_t at),
    (file, data, count, at), LOOKS, file, NULL)
ONE(DIR *, NULL, opendir, (const char *path), (path), LOOKS, AT_FDCWD, path)
ONE(int, -1, access, (const char *path, int mode), (path, mode), LOOKS, AT_FDCWD, path)
ONE(int, -1, faccessat, (int directory, const char *path, int mode, int flags),
    (directory, path, mode, flags), LOOKS, directory, path)
ONE(int, -1, stat64, (const char *path, struct stat64 *found), (path, found), LOOKS, AT_FDCWD, path)
ONE(int, -1, lstat64, (const char *path, struct stat64 *found), (path, found), LOOKS, AT_FDCWD,
    path)
ONE(int, -1, fstat64, (int file, struct stat64 *found), (file, found), LOOKS, file, NULL)
ONE(int, -1, fstatat64, (int directory, const char *path, struct stat64 *found, int flags),
    (directory, path, found, flags), LOOKS, directory, path)

int ioctl(int file, unsigned long what, ...)
{
    REAL(int, ioctl, (int, unsigned long, ...))
    va_list rest;
    va_start(rest, what);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    /* FICLONE shares the blocks of another file; all others only look. */
    if (fails("ioctl", what == 0x40049409 ? TAKES : LOOKS, file, NULL, AT_FDCWD, NULL))
        return -1;
    return real(file, what, argument);
}

/* A failed close frees the descriptor all the same. */
int close(int file)
{
    REAL(int, close, (int))
    if (!control || control->mode == OFF)
        return real(file);
    int flags = (int)syscall(SYS_fcntl, file, F_GETFL);
    enum kind kind = (flags & O_ACCMODE) == O_RDONLY ? LOOKS : TAKES;
    if (!fails("close", kind, file, NULL, AT_FDCWD, NULL))
        return real(file);
    int error = errno;
    real(file);
    errno = error;
    return -1;
}
