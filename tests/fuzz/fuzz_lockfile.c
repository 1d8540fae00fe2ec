/*
 * Any bytes as the page of a lock file: nothing but what lockfile.c writes itself is believed, and no byte outside of
 * the file is asked for.
 *
 * The input is what begins at byte 0 of the file; with a first byte of 'P', at the place of the policy.
 *
 * clang -std=gnu11 -O1 -g -D_GNU_SOURCE -Iinclude -fsanitize=fuzzer,address,undefined -o fuzz_lockfile \
 *     tests/fuzz/fuzz_lockfile.c shim/core/{lockfile,config*,policy,name,own,guard,period,diag,sys}.c
 * ./fuzz_lockfile -max_len=2048 -max_total_time=120 -dict=tests/fuzz/lockfile.dict
 */
#include "../../include/mplogshim.h"
#include "../../shim/core/lockfile.h"
#include "../../shim/core/policy.h"
#include "../../shim/core/sys.h"

#include <stdlib.h>
#include <string.h>

static char page[MPLOGSHIM_PAGE_SIZE];
static size_t page_length;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static ssize_t fake_pread(int fd, void *buffer, size_t size, off_t offset)
{
    (void)fd;
    require(offset >= 0 && (size_t)offset + size <= sizeof page);
    size_t left = (size_t)offset < page_length ? page_length - (size_t)offset : 0;
    size_t count = size < left ? size : left;
    memcpy(buffer, page + offset, count);
    return (ssize_t)count;
}

static ssize_t fake_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    (void)fd;
    require(offset >= 0 && (size_t)offset + size <= sizeof page);
    memcpy(page + offset, buffer, size);
    return (ssize_t)size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t begin = size > 0 && data[0] == 'P' ? 1024 : 0;
    const struct lockfile lockfile = {.fd = 1000};
    char before[sizeof page];
    struct policy policy = {.period = {.interval = 1}};
    int64_t value;

    sys.pread = fake_pread;
    sys.pwrite = fake_pwrite;
    data += begin > 0;
    size -= begin > 0;
    size = size < sizeof page - begin ? size : sizeof page - begin;
    memset(page, 0, sizeof page);
    memcpy(page + begin, data, size);
    page_length = begin + size;
    memcpy(before, page, sizeof page);

    for (int field = 0; field < LOCKFILE_FIELDS; field++) {
        if (lockfile_read(&lockfile, (enum lockfile_field)field, &value))
            lockfile_write(&lockfile, (enum lockfile_field)field, value);
    }
    lockfile_is_broken(&lockfile, 7, 4096);
    if (lockfile_read_policy(&lockfile, &policy))
        require(lockfile_write_policy(&lockfile, &policy) == 0);
    else
        require(policy.period.interval == 1 && policy.max_bytes == 0);
    require(policy_is_valid(&policy));
    require(memcmp(before + 1024, page + 1024, sizeof page - 1024) == 0);
    return 0;
}
