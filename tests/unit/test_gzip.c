/* One file compressed, and compared with its plain form. */
#include "archive_scene.h"

#include "../../shim/tool/gzip.h"

enum { LARGE = 3 * 1024 * 1024 + 12345 };
#define HIDDEN ".app.log.squeeze"

static int make(struct place *place, const char *plain, int (*between)(void *context), void *context)
{
    int fd = -1;
    struct stat status;
    const struct gzip_task task = {.directory = place->task.directory,
                                   .plain = plain,
                                   .hidden = HIDDEN,
                                   .level = 6,
                                   .between = between,
                                   .context = context};
    int error = gzip_make(&task, &fd, &status, &(struct stat){0});
    assert_int_equal(error == 0, fd >= 0);
    if (fd >= 0) {
        struct temporary_path path = temporary_path(place->directory, plain);
        struct stat now;
        assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_int_equal(lstat(path.text, &now), 0);
        assert_true(gzip_is_unchanged(&status, &now));
        close(fd);
    }
    return error;
}

/* Bytes that do not compress well: xorshift64. */
static char *make_noise(const struct place *place, const char *name, size_t size)
{
    uint64_t state = 20261120;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = (char)(state >> 32);
    }
    struct temporary_path path = temporary_path(place->directory, name);
    int fd = open(path.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
    return bytes;
}

static void assert_holds(const struct place *place, const char *name, const char *bytes, size_t size)
{
    struct temporary_path path = temporary_path(place->directory, name);
    char *read = malloc(size + 1);
    gzFile file = gzopen(path.text, "rbe");
    assert_true(read != NULL && file != NULL);
    assert_int_equal(gzread(file, read, (unsigned)size + 1), size);
    assert_int_equal(gzdirect(file), 0);
    assert_int_equal(gzclose(file), Z_OK);
    assert_memory_equal(read, bytes, size);
    free(read);
}

static void compressed_file_holds_every_byte(void **state)
{
    static const size_t sizes[] = {0, 1, 262143, 262144, 262145, LARGE};
    struct place *place = *state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *bytes = make_noise(place, "a", sizes[i]);
        assert_int_equal(make(place, "a", NULL, NULL), 0);
        assert_holds(place, HIDDEN, bytes, sizes[i]);
        assert_int_equal(gzip_is_same(place->task.directory, "a", HIDDEN), 1);
        free(bytes);
    }
}

static void zcat_reads_it(void **state)
{
    struct place *place = *state;
    char command[256];
    MAKE(place, "a");
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    snprintf(command, sizeof command, "cd %s && gzip -t <%s && zcat <%s | cmp - a", place->directory, HIDDEN, HIDDEN);
    assert_int_equal(system(command), 0);
}

static void level_is_the_policys(void **state)
{
    struct place *place = *state;
    char text[100000];
    long lengths[2];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = "0123456789abcdef"[(i * i / 7 + i / 300) % 16];
    }
    text[sizeof text - 1] = '\0';
    temporary_write(place->directory, "a", text);
    for (int i = 0; i < 2; i++) {
        int fd;
        struct stat status;
        const struct gzip_task task = {
            .directory = place->task.directory, .plain = "a", .hidden = HIDDEN, .level = i == 0 ? 1 : 9};
        assert_int_equal(gzip_make(&task, &fd, &status, &(struct stat){0}), 0);
        close(fd);
        lengths[i] = temporary_length(place->directory, HIDDEN);
    }
    assert_true(lengths[1] < lengths[0]);
}

static void sparse_file_is_compressed_to_next_to_nothing(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, "a");
    temporary_write(place->directory, "a", "");
    assert_int_equal(truncate(path.text, 64 * 1024 * 1024), 0);
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_true(temporary_length(place->directory, HIDDEN) < 100000);
    assert_int_equal(gzip_is_same(place->task.directory, "a", HIDDEN), 1);
}

static struct stat status_of(const struct place *place, const char *name)
{
    struct stat status;
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(lstat(path.text, &status), 0);
    return status;
}

static void times_mode_and_owner_are_kept(void **state)
{
    struct place *place = *state;
    const struct timespec times[2] = {{1000, 123456789}, {2000, 987654321}};
    struct temporary_path path = temporary_path(place->directory, "a");
    MAKE(place, "a");
    if (geteuid() == 0) {
        assert_int_equal(chown(path.text, 1, 2), 0);
    }
    assert_int_equal(chmod(path.text, 0764), 0);
    assert_int_equal(utimensat(AT_FDCWD, path.text, times, 0), 0);
    struct stat plain = status_of(place, "a");
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    struct stat made = status_of(place, HIDDEN);
    char *bytes = temporary_read(place->directory, HIDDEN);
    assert_memory_equal(bytes + 4, "\xd0\x07\0\0", 4); /* 2000, for gzip -N */
    free(bytes);
    assert_int_equal(made.st_mode, plain.st_mode);
    assert_int_equal(made.st_uid, plain.st_uid);
    assert_int_equal(made.st_gid, plain.st_gid);
    assert_memory_equal(&made.st_atim, &times[0], sizeof times[0]);
    assert_memory_equal(&made.st_mtim, &times[1], sizeof times[1]);
}

/* As for a process that may give files to nobody, or only to groups of its own. */
static bool may_give_groups;

static int fchown_as_user(int fd, uid_t owner, gid_t group)
{
    return owner != (uid_t)-1 || !may_give_groups ? -EPERM : sys_real.fchown(fd, owner, group);
}

static mode_t mode_as_user(struct place *place, mode_t mode, gid_t group)
{
    struct temporary_path path = temporary_path(place->directory, "a");
    MAKE(place, "a");
    assert_int_equal(chown(path.text, (uid_t)-1, group), 0);
    assert_int_equal(chmod(path.text, mode), 0);
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    return status_of(place, HIDDEN).st_mode & 07777;
}

static void nobody_may_read_what_he_could_not_read_before(void **state)
{
    struct place *place = *state;
    gid_t own = status_of(place, ".").st_gid;
    gid_t other = geteuid() == 0 ? own + 2 : own; /* who is not root has no other to try with */
    bool kept = own == other;
    sys.fchown = fchown_as_user;
    may_give_groups = false;
    assert_int_equal(mode_as_user(place, 0664, other), kept ? 0664 : 0644);
    assert_int_equal(mode_as_user(place, 0640, other), kept ? 0640 : 0600);
    assert_int_equal(mode_as_user(place, 0604, other), kept ? 0604 : 0600);
    assert_int_equal(mode_as_user(place, 0640, own), 0640);
    may_give_groups = true;
    assert_int_equal(mode_as_user(place, 0664, other), 0664);
    assert_int_equal(status_of(place, HIDDEN).st_gid, other);
}

static const struct place *hidden_of;
static unsigned most_open;

static int fchmod_that_looks(int fd, mode_t mode)
{
    most_open |= status_of(hidden_of, HIDDEN).st_mode & 0777;
    return sys_real.fchmod(fd, mode);
}

static void file_in_the_making_is_its_owners_alone(void **state)
{
    struct place *place = *state;
    hidden_of = place;
    most_open = 0;
    sys.fchmod = fchmod_that_looks;
    MAKE(place, "a");
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_int_equal(most_open, 0600);
    assert_int_equal(status_of(place, HIDDEN).st_mode & 0777, 0644);
}

static void left_over_file_and_link_of_the_hidden_name_are_replaced(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, HIDDEN);
    MAKE(place, "a", "precious", HIDDEN);
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_there(place, HIDDEN "<a a precious");
    assert_int_equal(unlink(path.text), 0);
    assert_int_equal(symlink("precious", path.text), 0);
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_there(place, HIDDEN "<a a precious");
}

static void what_is_no_regular_file_is_not_compressed(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, "fifo");
    make_foreign(place, "directory", "link");
    assert_int_equal(mkfifo(path.text, 0600), 0);
    assert_true(make(place, "directory", NULL, NULL) < 0);
    assert_true(make(place, "link", NULL, NULL) < 0);
    assert_true(make(place, "fifo", NULL, NULL) < 0);
    assert_int_equal(make(place, "nothing", NULL, NULL), -ENOENT);
    MAKE(place, "a");
    path = temporary_path(place->directory, "second");
    assert_int_equal(symlink("a", path.text), 0);
    assert_int_equal(make(place, "second", NULL, NULL), -ELOOP);
    assert_there(place, "a directory/ fifo| link@ second@");
}

static int count_and_rename(void *context)
{
    int *count = context;
    struct temporary_path from = temporary_path(hidden_of->directory, *count % 2 == 0 ? "a" : "b");
    struct temporary_path to = temporary_path(hidden_of->directory, *count % 2 == 0 ? "b" : "a");
    ++*count;
    return rename(from.text, to.text);
}

static void between_is_called_about_once_a_megabyte_and_may_rename_the_file(void **state)
{
    struct place *place = *state;
    int count = 0;
    int fd;
    struct stat status;
    const struct gzip_task task = {.directory = place->task.directory,
                                   .plain = "a",
                                   .hidden = HIDDEN,
                                   .level = 1,
                                   .between = count_and_rename,
                                   .context = &count};
    char *bytes = make_noise(place, "a", LARGE);
    hidden_of = place;
    assert_int_equal(gzip_make(&task, &fd, &status, &(struct stat){0}), 0);
    assert_int_equal(count, 3);
    assert_true(temporary_exists(place->directory, "b"));
    assert_int_equal(status_of(place, "b").st_ino, status.st_ino);
    assert_holds(place, HIDDEN, bytes, LARGE);
    close(fd);
    free(bytes);
}

static int end_it(void *context)
{
    (void)context;
    return -ECANCELED;
}

static int append(void *context)
{
    int fd = open_for_writing(context, "a");
    assert_int_equal(write(fd, "+", 1), 1);
    close(fd);
    return 0;
}

static int shorten(void *context)
{
    const struct place *place = context;
    struct temporary_path path = temporary_path(place->directory, "a");
    return truncate(path.text, 1200000);
}

/* As many bytes as before. */
static int change(void *context)
{
    const struct place *place = context;
    struct temporary_path path = temporary_path(place->directory, "a");
    int fd = open(path.text, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "+", 1, 0), 1);
    close(fd);
    return 0;
}

static void nothing_is_left_of_a_compression_that_ends_early(void **state)
{
    struct place *place = *state;
    free(make_noise(place, "a", LARGE));
    set_mtime(place, "a", 1000);
    assert_int_equal(make(place, "a", end_it, place), -ECANCELED);
    assert_false(temporary_exists(place->directory, HIDDEN));
    assert_int_equal(make(place, "a", change, place), -EAGAIN);
    assert_false(temporary_exists(place->directory, HIDDEN));
    assert_int_equal(make(place, "a", append, place), -EAGAIN);
    assert_false(temporary_exists(place->directory, HIDDEN));
    assert_int_equal(make(place, "a", shorten, place), -EAGAIN);
    assert_false(temporary_exists(place->directory, HIDDEN));
}

static ssize_t short_writev(int fd, const struct iovec *vector, int count)
{
    static int calls;
    struct iovec less = *vector;
    assert_int_equal(count, 1);
    less.iov_len = (vector->iov_len + 2) / 3;
    return calls++ % 3 == 0 ? -EINTR : sys_real.writev(fd, &less, 1);
}

static ssize_t short_read(int fd, void *buffer, size_t size)
{
    static int calls;
    return calls++ % 3 == 0 ? -EINTR : sys_real.read(fd, buffer, (size + 2) / 3);
}

static void short_reads_and_writes_are_gone_on_with(void **state)
{
    struct place *place = *state;
    char *bytes = make_noise(place, "a", LARGE);
    sys.writev = short_writev;
    sys.read = short_read;
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_int_equal(gzip_is_same(place->task.directory, "a", HIDDEN), 1);
    sys = sys_real;
    assert_holds(place, HIDDEN, bytes, LARGE);
    free(bytes);
}

static int failing_fsync(int fd)
{
    (void)fd;
    return -EIO;
}

static int failing_close(int fd)
{
    bool written = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
    sys_real.close(fd);
    return written ? -EDQUOT : 0;
}

static void file_that_may_not_be_on_the_disk_is_removed(void **state)
{
    struct place *place = *state;
    MAKE(place, "a");
    sys.fsync = failing_fsync;
    assert_int_equal(make(place, "a", NULL, NULL), -EIO);
    assert_there(place, "a");
    sys.fsync = sys_real.fsync;
    sys.close = failing_close;
    assert_int_equal(make(place, "a", NULL, NULL), -EDQUOT);
    assert_there(place, "a");
}

static int compare(const struct place *place, const char *plain, const char *compressed)
{
    return gzip_is_same(place->task.directory, plain, compressed);
}

static void change_file(const struct place *place, const char *name, off_t length, off_t at)
{
    struct temporary_path path = temporary_path(place->directory, name);
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    char byte = 0;
    assert_int_equal(ftruncate(fd, length), 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void files_that_differ_anywhere_are_not_the_same(void **state)
{
    struct place *place = *state;
    free(make_noise(place, "a", LARGE));
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_int_equal(compare(place, "a", HIDDEN), 1);
    change_file(place, "a", LARGE, LARGE - 1);
    assert_int_equal(compare(place, "a", HIDDEN), 0);
    free(make_noise(place, "a", LARGE));
    change_file(place, "a", LARGE, 0);
    assert_int_equal(compare(place, "a", HIDDEN), 0);
    free(make_noise(place, "a", LARGE - 1));
    assert_int_equal(compare(place, "a", HIDDEN), 0);
    free(make_noise(place, "a", LARGE + 1));
    assert_int_equal(compare(place, "a", HIDDEN), 0);
    free(make_noise(place, "a", 0));
    assert_int_equal(compare(place, "a", HIDDEN), 0);
}

static void compressed_file_that_is_cut_off_or_damaged_or_longer_is_not_the_same(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, HIDDEN);
    free(make_noise(place, "a", 1000));
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    long length = temporary_length(place->directory, HIDDEN);
    for (long cut = 0; cut < length; cut += cut < length - 12 ? 10 : 1) {
        assert_int_equal(make(place, "a", NULL, NULL), 0);
        assert_int_equal(truncate(path.text, cut), 0);
        assert_int_equal(compare(place, "a", HIDDEN), 0);
    }
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    change_file(place, HIDDEN, length, length - 6); /* its checksum */
    assert_int_equal(compare(place, "a", HIDDEN), 0);
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    int fd = open_for_writing(place, HIDDEN);
    assert_int_equal(write(fd, "more", 4), 4);
    close(fd);
    assert_int_equal(compare(place, "a", HIDDEN), 0);
    assert_int_equal(compare(place, "a", "a"), 0);
}

static void comparison_that_is_not_possible_says_so(void **state)
{
    struct place *place = *state;
    MAKE(place, "a");
    make_foreign(place, "directory", "link");
    assert_int_equal(make(place, "a", NULL, NULL), 0);
    assert_int_equal(compare(place, "nothing", HIDDEN), -ENOENT);
    assert_int_equal(compare(place, "a", "nothing"), -ENOENT);
    assert_true(compare(place, "a", "directory") < 0);
    assert_true(compare(place, "link", HIDDEN) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(compressed_file_holds_every_byte),
        PLACE_TEST(zcat_reads_it),
        PLACE_TEST(level_is_the_policys),
        PLACE_TEST(sparse_file_is_compressed_to_next_to_nothing),
        PLACE_TEST(times_mode_and_owner_are_kept),
        PLACE_TEST(nobody_may_read_what_he_could_not_read_before),
        PLACE_TEST(file_in_the_making_is_its_owners_alone),
        PLACE_TEST(left_over_file_and_link_of_the_hidden_name_are_replaced),
        PLACE_TEST(what_is_no_regular_file_is_not_compressed),
        PLACE_TEST(between_is_called_about_once_a_megabyte_and_may_rename_the_file),
        PLACE_TEST(nothing_is_left_of_a_compression_that_ends_early),
        PLACE_TEST(short_reads_and_writes_are_gone_on_with),
        PLACE_TEST(file_that_may_not_be_on_the_disk_is_removed),
        PLACE_TEST(files_that_differ_anywhere_are_not_the_same),
        PLACE_TEST(compressed_file_that_is_cut_off_or_damaged_or_longer_is_not_the_same),
        PLACE_TEST(comparison_that_is_not_possible_says_so),
    };
    return cmocka_run_group_tests_name("gzip", tests, NULL, NULL);
}
