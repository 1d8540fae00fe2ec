// Writes the numbered lines of line.h with C++ streams: writer_cpp WAY LOG WRITER COUNT [RATE]
#include "line.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

// `flush`: after every line, as std::endl does.
static void write_lines(std::ostream &stream, bool flush, unsigned writer, unsigned count, unsigned rate)
{
    std::vector<char> line(LINE_SIZE_MAX + 1);
    for (unsigned number = 1; number <= count; number++) {
        size_t size = line_make(line.data(), writer, number, line_length(writer, number, LINE_SHORTEST, LINE_LONGEST));
        line[size - 1] = '\0';
        stream << line.data();
        if (flush)
            stream << std::endl;
        else
            stream << '\n';
        if (!stream) {
            std::cerr << "line " << number << ": " << std::strerror(errno) << "\n";
            std::exit(1);
        }
        if (rate > 0 && number % 16 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(16000000 / rate));
    }
}

int main(int count, char **arguments)
{
    if (count < 5)
        return 2;
    std::string way = arguments[1];
    std::string log = arguments[2];
    unsigned writer = std::strtoul(arguments[3], nullptr, 10);
    unsigned lines = std::strtoul(arguments[4], nullptr, 10);
    unsigned rate = count > 5 ? std::strtoul(arguments[5], nullptr, 10) : 0;

    if (way == "ofstream" || way == "ofstream_endl") {
        std::ofstream stream(log, std::ios::app);
        write_lines(stream, way == "ofstream_endl", writer, lines, rate);
        stream.close();
        return stream ? 0 : 1;
    }
    // The standard streams, which the caller has redirected.
    if (way == "cout_unsynced")
        std::ios::sync_with_stdio(false);
    if (way == "cerr" || way == "clog") {
        std::clog.flush();
        write_lines(way == "cerr" ? std::cerr : std::clog, false, writer, lines, rate);
    } else {
        write_lines(std::cout, way == "cout_endl", writer, lines, rate);
    }
    return 0;
}
