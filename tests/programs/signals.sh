#!/bin/bash
# A timer at 10 kHz interrupts a writing program at every moment, with a handler that writes, forks, ends the process or
# jumps: SIGNALS_SECONDS for each test (default: 1), more on a busy machine. What was acknowledged is there, once and
# whole, and nobody waits for a lock that was left behind.
source "$(dirname "$0")/../account/lib.sh"
export MPLOGSHIM_LOCK_TIMEOUT=10s # a jump between giving the lock back and waking who waits for it costs that
interrupted=$build/tests/interrupted
seconds=${SIGNALS_SECONDS:-1}
time_limit=$((300 + 2 * seconds))

# Interrupts for that long, beside another process that writes as well, and settles the account. Signals came by the
# hundred.
interrupt() { # KEY=VALUE,... OPTION...
    local record records=()
    new_log "naming=time,$1"
    export MPLOGSHIM_DIAG=$directory/said
    start "$writer" write "$log" 400 $((seconds * 500)) 500
    shim "$interrupted" "${@:2}" "$log" "$directory/told" "$seconds" | tee "$directory/happened"
    ((PIPESTATUS[0] == 0))
    finish
    for record in "$directory"/told.*; do
        records+=("${record##*.}=@$record")
    done
    # A process that ends cuts the line short that another of its threads is writing, which nobody was told is written.
    account --naming time --min-rotations 5 --cut "$(happened exits)" "${records[@]}" 400=$((seconds * 500))
    (($(happened signals) >= seconds * 100))
    said_nothing
}

# Nor did a rotation fail, nor anybody wait for a lock.
said_nothing() {
    cat "$MPLOGSHIM_DIAG" 2>/dev/null || true
    [ ! -s "$MPLOGSHIM_DIAG" ]
}

happened() { # WHAT
    sed -E "s/.*$1 ([0-9]+).*/\1/" "$directory/happened"
}

handlers_that_interrupt_malloc_and_localtime_may_write() {
    interrupt max_bytes=64K,when=S --work libc
}

handlers_that_interrupt_stdio_may_write() {
    interrupt max_bytes=64K --work stdio
}

handlers_that_interrupt_strict_lines_may_write() {
    interrupt max_bytes=64K,lines=strict --work libc --threads 3
}

handlers_may_fork() {
    interrupt max_bytes=32K --work libc --fork
    (($(happened forks) >= seconds))
}

handlers_may_end_the_process() {
    interrupt max_bytes=16K --exit
    (($(happened exits) >= seconds))
}

handlers_may_jump() {
    interrupt max_bytes=16K,lock_timeout=2s --jump
    (($(happened jumps) >= seconds * 5))
}

handlers_may_fork_and_jump_in_many_threads() {
    interrupt max_bytes=32K --threads 6 --fork --jump
    (($(happened forks) >= seconds))
}

handlers_may_end_the_process_and_jump_in_many_threads() {
    interrupt max_bytes=32K --threads 6 --exit --jump
    (($(happened exits) >= seconds))
}

handlers_may_do_all_of_it_in_many_threads() {
    interrupt max_bytes=32K --threads 6 --fork --exit --jump
    (($(happened exits) >= seconds))
    (($(happened forks) >= seconds))
}

# What a handler interrupts may be in the middle of a record on its way into the buffer.
handlers_that_interrupt_malloc_may_write_to_a_buffer() {
    interrupt max_bytes=256K,async=1,async_buffer=64K --work libc --threads 3
}

handlers_may_jump_in_many_threads_with_buffers() {
    interrupt max_bytes=64K,async=1 --threads 6 --jump
    (($(happened jumps) >= seconds * 5))
}

handlers_may_end_the_process_with_a_buffer() {
    interrupt max_bytes=64K,async=1 --exit
    (($(happened exits) >= seconds))
}

run_tests \
    handlers_that_interrupt_malloc_and_localtime_may_write \
    handlers_that_interrupt_stdio_may_write \
    handlers_that_interrupt_strict_lines_may_write \
    handlers_may_fork \
    handlers_may_end_the_process \
    handlers_may_jump \
    handlers_may_fork_and_jump_in_many_threads \
    handlers_may_end_the_process_and_jump_in_many_threads \
    handlers_may_do_all_of_it_in_many_threads \
    handlers_that_interrupt_malloc_may_write_to_a_buffer \
    handlers_may_jump_in_many_threads_with_buffers \
    handlers_may_end_the_process_with_a_buffer
