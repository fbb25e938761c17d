/* Preloaded into nacrith by test_faults.py: makes one system call fail, the n-th of its kind.
 *
 * Counted are calls on files below one directory and on standard input and output, in all processes but the
 * server together; of threads and processes every start. What to do stands in a file that all of them map
 * (fault_server.py writes it). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, FSYNC, RENAME, LINK, CHMOD, UTIMES, FORK, THREAD };

/* calls: what shall fail, a bit for each kind. nth: which one, from 1, or 0 for every one. */
static struct control {
    int server, calls, nth, error, counts[16];
    char directory[512];
} *control;

#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("FAULT_CONTROL");
    int descriptor = path ? REAL(open, int, const char *, int, ...)(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(descriptor);
}

/* Whether this call, which concerns us, is the one to fail. */
static int fails(int call) {
    if (!control || getpid() == control->server) return 0;
    int count = __atomic_add_fetch(&control->counts[call], 1, __ATOMIC_SEQ_CST);
    if (!(control->calls >> call & 1) || (control->nth && count != control->nth)) return 0;
    errno = control->error;
    return 1;
}

static int is_below(const char *path) {
    size_t size = control ? strlen(control->directory) : 0;
    return size && !strncmp(path, control->directory, size);
}

static int link_is_below(const char *link) {
    char path[4096];
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_below(path);
}

static int concerns_descriptor(int descriptor) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    int below = descriptor == 0 || descriptor == 1 || link_is_below(link);
    errno = before;
    return below;
}

static int concerns_path(int directory, const char *path) {
    if (path[0] == '/') return is_below(path) || (!strncmp(path, "/proc/self/fd/", 14) && link_is_below(path));
    return directory == AT_FDCWD ? link_is_below("/proc/self/cwd") : concerns_descriptor(directory);
}

#define OPENED(name)                                                                       \
    int name(const char *path, int flags, ...) {                                           \
        va_list rest;                                                                      \
        va_start(rest, flags);                                                             \
        mode_t mode = va_arg(rest, mode_t);                                                \
        va_end(rest);                                                                      \
        if (concerns_path(AT_FDCWD, path) && fails(OPEN)) return -1;                       \
        return REAL(name, int, const char *, int, ...)(path, flags, mode);                 \
    }
OPENED(open)
OPENED(open64)

#define OPENED_AT(name)                                                                    \
    int name(int directory, const char *path, int flags, ...) {                            \
        va_list rest;                                                                      \
        va_start(rest, flags);                                                             \
        mode_t mode = va_arg(rest, mode_t);                                                \
        va_end(rest);                                                                      \
        if (concerns_path(directory, path) && fails(OPEN)) return -1;                      \
        return REAL(name, int, int, const char *, int, ...)(directory, path, flags, mode); \
    }
OPENED_AT(openat)
OPENED_AT(openat64)

#define WITH_DESCRIPTOR(call, result, name, parameters, arguments, ...)   \
    result name parameters {                                              \
        if (concerns_descriptor(descriptor) && fails(call)) return -1;    \
        return REAL(name, result, __VA_ARGS__) arguments;                 \
    }
WITH_DESCRIPTOR(READ, ssize_t, read, (int descriptor, void *data, size_t size), (descriptor, data, size), int,
                void *, size_t)
WITH_DESCRIPTOR(WRITE, ssize_t, write, (int descriptor, const void *data, size_t size),
                (descriptor, data, size), int, const void *, size_t)
WITH_DESCRIPTOR(FSYNC, int, fsync, (int descriptor), (descriptor), int)
WITH_DESCRIPTOR(FSYNC, int, fdatasync, (int descriptor), (descriptor), int)
WITH_DESCRIPTOR(CHMOD, int, fchmod, (int descriptor, mode_t mode), (descriptor, mode), int, mode_t)
WITH_DESCRIPTOR(UTIMES, int, futimens, (int descriptor, const struct timespec times[2]), (descriptor, times),
                int, const struct timespec *)

#define WITH_PATH(call, directory, path, name, parameters, arguments, ...) \
    int name parameters {                                                  \
        if (concerns_path(directory, path) && fails(call)) return -1;      \
        return REAL(name, int, __VA_ARGS__) arguments;                     \
    }
WITH_PATH(RENAME, AT_FDCWD, to, rename, (const char *from, const char *to), (from, to), const char *,
          const char *)
WITH_PATH(RENAME, there, to, renameat, (int here, const char *from, int there, const char *to),
          (here, from, there, to), int, const char *, int, const char *)
WITH_PATH(LINK, AT_FDCWD, to, link, (const char *from, const char *to), (from, to), const char *, const char *)
WITH_PATH(LINK, there, to, linkat, (int here, const char *from, int there, const char *to, int flags),
          (here, from, there, to, flags), int, const char *, int, const char *, int)
WITH_PATH(CHMOD, AT_FDCWD, path, chmod, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
WITH_PATH(CHMOD, here, path, fchmodat, (int here, const char *path, mode_t mode, int flags),
          (here, path, mode, flags), int, const char *, mode_t, int)
WITH_PATH(UTIMES, here, path, utimensat,
          (int here, const char *path, const struct timespec times[2], int flags), (here, path, times, flags),
          int, const char *, const struct timespec *, int)

pid_t fork(void) { return fails(FORK) ? -1 : REAL(fork, pid_t, void)(); }

/* The caller's frame must outlive the child's use of it, which only a real fork grants from in here. */
pid_t vfork(void) { return fork(); }

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    if (fails(THREAD)) return errno;
    return REAL(pthread_create, int, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)(
        thread, attributes, body, argument);
}
