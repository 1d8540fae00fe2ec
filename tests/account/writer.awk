# Writes the numbered lines of line.h with awk: awk -v log_file=LOG -v writer=W -v count=N -f writer.awk
# To standard output where there is no log_file.
BEGIN {
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    payloads = letters letters letters letters letters letters
    for (n = 1; n <= count; n++) {
        size = 20 + (37 * n + 11 * writer) % 281
        offset = (7 * n + 13 * writer) % 64
        sum = (7919 * n + 10473 * writer + 31 * size + offset) % 65521
        line = "w=" writer " n=" n " len=" size " " substr(payloads, offset + 1, size) " sum=" sum
        if (log_file == "")
            print line
        else
            print line >> log_file
    }
}
