#!/usr/bin/perl
# Writes the numbered lines of line.h with Perl: writer.pl WAY LOG WRITER COUNT [RATE]
use strict;
use warnings;
use IO::Handle;
use POSIX ();

my ($way, $log, $writer, $count, $rate) = @ARGV;
my $letters = join('', 'A' .. 'Z', 'a' .. 'z', '0' .. '9', '_', '-') x 6;

sub make_line {
    my ($who, $number) = @_;
    my $length = 20 + (37 * $number + 11 * $who) % 281;
    my $offset = (7 * $number + 13 * $who) % 64;
    my $sum = (7919 * $number + 10473 * $who + 31 * $length + $offset) % 65521;
    return "w=$who n=$number len=$length " . substr($letters, $offset, $length) . " sum=$sum";
}

my $output;
if ($log eq '-') {
    $output = \*STDOUT;
} else {
    open($output, '>>', $log) or die "$log: $!\n";
}

my %put = (
    print => sub { print $output "$_[0]\n" },
    say => sub { local $\ = "\n"; print $output $_[0] },
    printf => sub { printf $output "%s\n", $_[0] },
    flush => sub { print $output "$_[0]\n" },
    syswrite => sub { syswrite($output, "$_[0]\n") == length($_[0]) + 1 },
    posix => sub { POSIX::write(fileno($output), "$_[0]\n", length($_[0]) + 1) == length($_[0]) + 1 },
    forks => sub { print $output "$_[0]\n" },
);
my $put = $put{$way} or die "no way $way\n";
$output->autoflush(1) if $way eq 'flush';

sub write_lines {
    my ($who) = @_;
    for my $number (1 .. $count) {
        $put->(make_line($who, $number)) or die "line $number: $!\n";
        select(undef, undef, undef, 16 / $rate) if $rate && $number % 16 == 0;
    }
}

if ($way eq 'forks') {
    my @children;
    for my $share (0 .. 2) {
        my $child = fork() // die "fork: $!\n";
        if ($child == 0) {
            write_lines($writer + $share);
            exit 0;
        }
        push @children, $child;
    }
    for my $child (@children) {
        waitpid($child, 0) == $child && $? == 0 or die "child $child failed\n";
    }
} else {
    write_lines($writer);
}
close($output) or die "close: $!\n";
