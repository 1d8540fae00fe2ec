-- Logs the numbered lines of line.h from within redis-server: redis-cli --eval writer.lua , WRITER FIRST LAST
local letters = string.rep('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-', 6)
local writer = tonumber(ARGV[1])
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
    local length = 20 + (37 * number + 11 * writer) % 281
    local offset = (7 * number + 13 * writer) % 64
    local sum = (7919 * number + 10473 * writer + 31 * length + offset) % 65521
    redis.log(redis.LOG_WARNING, string.format('w=%d n=%d len=%d %s sum=%d', writer, number, length,
                                               string.sub(letters, offset + 1, offset + length), sum))
end
return 'done'
