// stdio_streams SITUATION LOG: writes numbered lines to LOG by every kind of C++ stream, mixed with C's.
//
// SITUATION: "inherited" (the caller has redirected 1 and 2 to LOG), "dup2" and "freopen" (redirected here, after the
// streams were used, as daemons do), each also as "..._unsynced" (without sync_with_stdio), "file" (ofstream), or
// "uncaught": writes the beginning of a line and ends by an exception that nobody catches.
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <unistd.h>

static void write_lines()
{
    for (int i = 0; i < 100; i++) {
        std::cout << "cout " << i << '\n';
        std::printf("printf %d\n", i);
        std::cout.put('p').put('\n');
        std::puts("puts");
        if (i % 10 == 0)
            std::cout << "endl" << std::endl;
    }
    std::cout.flush();
    std::fflush(stdout);
    std::cerr << "cerr " << 1 << "\n";
    std::clog << "clog " << 2 << std::endl;
    std::fprintf(stderr, "stderr\n");
    std::cout << "unflushed at exit\n";
}

static void write_file(const char *log)
{
    std::ofstream stream(log, std::ios::app);
    for (int i = 0; i < 3000; i++)
        stream << "ofstream " << i << '\n';
    stream.flush();
    stream << "position " << (stream.tellp() > 0) << '\n';
    std::ofstream second;
    second.open(log, std::ios::out | std::ios::app);
    stream.close();
    second << "unflushed at exit " << second.is_open() << stream.good() << '\n';
}

static void throw_in_mid_line(const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (write(fd, "complete\nbegin", 14) == 14)
        throw std::runtime_error("nobody catches this");
}

static bool redirect(const std::string &situation, const char *log)
{
    std::cout << "before" << std::endl;
    std::cerr << "before" << std::endl;
    if (situation.find("freopen") == 0)
        return std::freopen(log, "a", stdout) != nullptr && std::freopen(log, "a", stderr) != nullptr;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    return dup2(fd, 1) == 1 && dup2(fd, 2) == 2 && close(fd) == 0;
}

int main(int count, char *arguments[])
{
    if (count != 3)
        return 2;
    std::string situation = arguments[1];
    if (situation.find("_unsynced") != std::string::npos)
        std::ios::sync_with_stdio(false);
    if (situation == "file") {
        write_file(arguments[2]);
        return 0;
    }
    if (situation == "uncaught")
        throw_in_mid_line(arguments[2]);
    if (situation.find("inherited") != 0 && !redirect(situation, arguments[2]))
        return 1;
    write_lines();
    return 0;
}
