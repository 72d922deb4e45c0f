/* A disk that keeps only what was synced, for tests of power cuts.
 *
 * Preloaded into a process, it copies each file below PIPEWRIGHT_DISK_OF to PIPEWRIGHT_DISK_KEEPS whenever the process syncs that file and the
 * sync succeeds: what stands there is what a disk would hold after a power cut at that moment, if nothing but synced writes survived it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One at a time: an older copy must not replace a newer one. */
static pthread_mutex_t copying = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what, const char *path) {
    fprintf(stderr, "the test's disk: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

static void keep(int fd) {
    const char *of = getenv("PIPEWRIGHT_DISK_OF"), *keeps = getenv("PIPEWRIGHT_DISK_KEEPS");
    char link[64], path[4096], whole[8192], half[8200];
    struct stat kind;
    if (!of || !keeps || fstat(fd, &kind) != 0 || !S_ISREG(kind.st_mode)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) fail("readlink", link);
    path[length] = 0;
    if (strncmp(path, of, strlen(of)) != 0 || path[strlen(of)] != '/' || strchr(path + strlen(of) + 1, '/')) return;
    snprintf(whole, sizeof whole, "%s%s", keeps, path + strlen(of));
    snprintf(half, sizeof half, "%s.half", whole);

    pthread_mutex_lock(&copying);
    int from = open(path, O_RDONLY | O_CLOEXEC), to = open(half, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0) fail("open", path);
    if (to < 0) fail("open", half);
    static char buffer[1 << 16];
    ssize_t got;
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, (size_t)got) != got) fail("write", half);
    if (got < 0) fail("read", path);
    close(from);
    close(to);
    if (rename(half, whole) != 0) fail("rename", half);
    pthread_mutex_unlock(&copying);
}

static int sync_then_keep(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd), cause = errno;
    if (result == 0) keep(fd);
    errno = cause;
    return result;
}

int fsync(int fd) { return sync_then_keep("fsync", fd); }
int fdatasync(int fd) { return sync_then_keep("fdatasync", fd); }
