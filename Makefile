# mplogshim: GNU make, a C11 compiler, glibc 2.34 or later, zlib; cmocka for the tests.
#
#   make                build/libmplogshim.so, build/mplogshim
#   make check          every test (scripts/check)
#   make bench          ns a line, as ratios against baselines of the same run
#   make bench-peers    the same of other ways to rotate a log, which scripts/setup peers installs
#   make bench-results  installs those, runs both, and puts the figures into README and tests/bench: 15 minutes
#   make bench-callgrind   instructions that calls on other files take, with and without the library
#   make fuzz           the fuzzers of tests/fuzz (clang); FUZZ_SECONDS=60 runs each for so long
#   make install        to $(DESTDIR)$(PREFIX)/lib and /bin
#
# BUILD=dir builds elsewhere, SANITIZE=address,undefined adds a sanitizer. HELPER=path is where the library looks for
# the command when it is not beside the library.

CC = gcc
CXX = g++
BUILD = build
PREFIX = /usr/local
DESTDIR =
libdir = $(PREFIX)/lib
bindir = $(PREFIX)/bin
HELPER = $(bindir)/mplogshim
SANITIZE =
V = 0
Q = $(if $(filter 0,$(V)),@echo ' ' $@;)

# One name for one file, however it was given: the dependency files speak of it.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))

CFLAGS = -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Werror
# What scripts/check-hardening reads off the built files.
MACHINE := $(shell $(CC) -dumpmachine)
HARDENING = -fstack-protector-strong -fstack-clash-protection $(if $(filter x86_64%,$(MACHINE)),-fcf-protection=full)
# For the command alone, unless it is built for a sanitizer or without optimisation.
FORTIFY = $(if $(SANITIZE),,$(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-D_FORTIFY_SOURCE=2))
# Where sys_hot_steady moves the stack pointer, profilers find the callers by the frame pointer. Elsewhere it would take
# room on the small stacks of signal handlers.
FRAMES = $(if $(filter %/log_record.o %/log_lockless.o,$@),-fno-omit-frame-pointer)
DEFINES = -D_GNU_SOURCE -Iinclude -Ishim
# ThreadSanitizer does not know fences; those here order nothing but atomic variables.
SANITIZERS = $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) $(if $(filter thread,$(SANITIZE)),-Wno-tsan)
sanitizer = $(if $(SANITIZE),$(BUILD)/tests/sanitize/options.o)
# No builtins and no fortified headers: this library defines the functions that those would redirect.
COMPILE = $(Q)$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) $(HARDENING) $(FRAMES) $(DEFINES) $(SANITIZERS) -U_FORTIFY_SOURCE -MMD -MP
# A write passes through a dozen small functions of as many files: with gcc they become a few (40 ns of 2,800). The
# objects hold ordinary code too, from which the tests are linked.
LTO = $(if $(or $(findstring clang,$(CC)),$(SANITIZE)),,-flto=auto -ffat-lto-objects)
NO_LTO = $(if $(LTO),-fno-lto)
LIBRARY_FLAGS = $(LTO) -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin -fno-plt
layout = shim/preload/layout.ld
# The compiler's start files would have nothing to do, but look up four names and make the end of each process 6
# microseconds longer.
NO_START_FILES = $(if $(SANITIZE),,-nostartfiles)
# initfirst: before libstdc++ binds its streams to stdout. nodelete: hooks must never disappear. The last two
# lines make a start 50 microseconds shorter: what is seldom touched (SYS_SELDOM) lies together, constants and code need
# one mapping, what a start touches of them lies together, and what the library calls of its own is not looked up.
LINK_FLAGS = -shared $(NO_START_FILES) -Wl,-soname,libmplogshim.so -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,initfirst \
             -Wl,-z,noexecstack -Wl,-z,defs -Wl,--as-needed -Wl,--version-script=$(BUILD)/exports.map \
             -Wl,--sort-section=name -Wl,-z,noseparate-code -Wl,-Bsymbolic-functions \
             -Wl,-T,$(layout)

# The command is an ordinary program.
TOOL_FLAGS = -fPIE -fvisibility=hidden $(FORTIFY)
TOOL_LINK_FLAGS = -pie -pthread -Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack -Wl,-z,defs -Wl,--as-needed

core = $(patsubst shim/%.c,$(BUILD)/shim/%.o,$(wildcard shim/core/*.c))
preload = $(patsubst shim/%.c,$(BUILD)/shim/%.o,$(wildcard shim/preload/*.c)) \
          $(patsubst shim/%.S,$(BUILD)/shim/%.o,$(wildcard shim/preload/*.S))
tool = $(patsubst shim/%.c,$(BUILD)/shim/%.o,$(wildcard shim/tool/*.c))
tool_parts = $(filter-out %/main.o,$(tool))
unit_tests = $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c tests/fault/test_*.c))
preload_programs = $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out tests/preload/lib%,$(wildcard tests/preload/*.c)))
preload_cxx_programs = $(patsubst tests/%.cc,$(BUILD)/tests/%,$(wildcard tests/preload/*.cc tests/account/*.cc))
preload_libraries = $(patsubst tests/%.c,$(BUILD)/tests/%.so,$(wildcard tests/preload/lib*.c))
account_programs = $(patsubst tests/account/%.c,$(BUILD)/tests/%,$(wildcard tests/account/*.c))
bench_programs = $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))
peer_programs = $(patsubst tests/%.cc,$(BUILD)/tests/%,$(wildcard tests/bench/*.cc))
programs = $(unit_tests) $(preload_programs) $(preload_cxx_programs) $(preload_libraries) $(account_programs) \
           $(bench_programs)

all: $(BUILD)/libmplogshim.so $(BUILD)/mplogshim

$(BUILD)/libmplogshim.so: $(core) $(preload) $(sanitizer) $(BUILD)/exports.map $(layout)
	$(Q)$(CC) $(CFLAGS) $(HARDENING) $(LTO) $(SANITIZERS) $(LINK_FLAGS) -o $@ $(core) $(preload) $(sanitizer)

$(BUILD)/mplogshim: $(core) $(tool) $(sanitizer)
	$(Q)$(CC) $(CFLAGS) $(NO_LTO) $(SANITIZERS) $(TOOL_LINK_FLAGS) -o $@ $(core) $(tool) $(sanitizer) -lz

$(BUILD)/tests/sanitize/%.o: tests/sanitize/%.c
	@mkdir -p $(@D)
	@mkdir -p -m 1777 $(BUILD)/reports
	$(COMPILE) -DREPORTS='"$(abspath $(BUILD))/reports/report"' -fPIC -c -o $@ $<

# The exports are the names of the hook table and nothing else.
$(BUILD)/exports.map: shim/preload/hooks.def
	@mkdir -p $(@D)
	$(Q){ echo '{ global:'; \
	  $(CC) -E -P -x c '-DHOOK(r,n,p,a)=n;' '-DHOOK_VARIADIC(r,n,p,m,a)=n;' '-DHOOK_ONLY(n)=n;' \
	        '-DHOOK_ALIAS(o,n)=o;' '-DHOOK_DATA(n)=n;' $< ; \
	  echo '$(if $(SANITIZE),__*_default_options; __*_default_suppressions;)'; \
	  echo 'local: *; };'; } > $@.new
	@mv $@.new $@

# Made anew when it names another path: make && make install PREFIX=/usr.
$(BUILD)/helper: always
	@mkdir -p $(@D)
	@echo '$(HELPER)' | cmp -s - $@ || echo '$(HELPER)' >$@

$(BUILD)/shim/core/log_helper.o: $(BUILD)/helper
$(BUILD)/shim/core/log_helper.o: DEFINES += -DMPLOGSHIM_HELPER='"$(HELPER)"'

$(BUILD)/shim/tool/%.o: shim/tool/%.c
	@mkdir -p $(@D)
	$(COMPILE) $(TOOL_FLAGS) -c -o $@ $<

$(BUILD)/shim/%.o: shim/%.c
	@mkdir -p $(@D)
	$(COMPILE) $(LIBRARY_FLAGS) -c -o $@ $<

$(BUILD)/shim/%.o: shim/%.S
	@mkdir -p $(@D)
	$(Q)$(CC) $(HARDENING) $(DEFINES) -MMD -MP -c -o $@ $<

tests: all $(programs)

$(BUILD)/tests/unit/%: tests/unit/%.c $(core) $(tool_parts) $(sanitizer)
	@mkdir -p $(@D)
	$(COMPILE) $(NO_LTO) -pthread -o $@ $< $(tool_parts) $(core) $(sanitizer) -lcmocka -lz

$(BUILD)/tests/fault/%: tests/fault/%.c $(core) $(tool_parts) $(sanitizer)
	@mkdir -p $(@D)
	$(COMPILE) $(NO_LTO) -pthread -o $@ $< $(tool_parts) $(core) $(sanitizer) -lcmocka -lz

$(BUILD)/tests/preload/lib%.so: tests/preload/lib%.c
	@mkdir -p $(@D)
	$(COMPILE) -fno-builtin -fPIC -shared -o $@ $<

$(BUILD)/tests/preload/%: tests/preload/%.c $(sanitizer)
	@mkdir -p $(@D)
	$(COMPILE) -fno-builtin -pthread -o $@ $< $(sanitizer) $(LIBRARIES)

$(BUILD)/tests/preload/sandbox: LIBRARIES = -lseccomp

# This one writes through the core itself.
$(BUILD)/tests/bench/bench_rotation: tests/bench/bench_rotation.c $(core) $(sanitizer)
	@mkdir -p $(@D)
	$(COMPILE) $(NO_LTO) -pthread -o $@ $< $(core) $(sanitizer)

$(BUILD)/tests/bench/%: tests/bench/%.c $(sanitizer)
	@mkdir -p $(@D)
	$(COMPILE) -pthread -o $@ $< $(sanitizer)

$(BUILD)/tests/%: tests/account/%.c $(sanitizer)
	@mkdir -p $(@D)
	$(COMPILE) -pthread -o $@ $< $(sanitizer) -lz

$(BUILD)/tests/bench/peer_%: tests/bench/peer_%.cc
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CFLAGS) -Wall -Wextra -Werror -MMD -MP -o $@ $< `pkg-config --cflags --libs $(PEER_PACKAGE)`

$(BUILD)/tests/bench/peer_glog: PEER_PACKAGE = libglog
$(BUILD)/tests/bench/peer_log4cplus: PEER_PACKAGE = log4cplus
$(BUILD)/tests/bench/peer_spdlog: PEER_PACKAGE = spdlog

$(BUILD)/tests/%: tests/%.cc
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CFLAGS) -Wall -Wextra -Werror -MMD -MP -o $@ $<

# The fuzzers, with objects of their own.
FUZZ_CC = clang
FUZZ_SECONDS =
FUZZ_LINK =
FUZZ_FLAGS = -std=gnu11 -O1 -g $(WARNINGS) $(DEFINES) -fno-sanitize-recover=all -fsanitize=address,undefined
fuzzers = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz_objects = $(patsubst $(BUILD)/%,$(BUILD)/fuzz/%,$(core) $(tool_parts))

$(BUILD)/fuzz/shim/%.o: shim/%.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS),fuzzer-no-link -MMD -MP -c -o $@ $<

# What the configuration reserves for ever is checked and freed there.
$(BUILD)/fuzz/fuzz_config: FUZZ_LINK = -Wl,--wrap=sys_reserve

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(fuzz_objects)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -MMD -MP -pthread $(FUZZ_LINK) -o $@ $< $(fuzz_objects) -lz

fuzz: $(fuzzers)
	$(if $(FUZZ_SECONDS),FUZZ_SECONDS=$(FUZZ_SECONDS) BUILD=$(BUILD) tests/fuzz/run_fuzzers)

check:
	scripts/check

bench: all $(bench_programs)
	scripts/bench $(BUILD)

bench-peers: all $(bench_programs) $(peer_programs)
	scripts/bench-peers $(BUILD)

# One after the other, whatever -j says.
bench-results:
	BUILD=$(BUILD) scripts/setup peers
	$(MAKE) bench
	$(MAKE) bench-peers
	scripts/bench-readme $(BUILD)

bench-callgrind: all $(BUILD)/tests/bench/bench_calls
	scripts/bench-callgrind $(BUILD)

install: all
	install -d $(DESTDIR)$(libdir)
	install -m 0755 $(BUILD)/libmplogshim.so $(DESTDIR)$(libdir)/libmplogshim.so
	install -d $(DESTDIR)$(bindir)
	install -m 0755 $(BUILD)/mplogshim $(DESTDIR)$(bindir)/mplogshim

uninstall:
	rm -f $(DESTDIR)$(libdir)/libmplogshim.so $(DESTDIR)$(bindir)/mplogshim

clean:
	rm -rf $(BUILD)

.PHONY: always all tests fuzz check bench bench-peers bench-results bench-callgrind install uninstall clean
.SECONDARY:

-include $(core:.o=.d) $(preload:.o=.d) $(tool:.o=.d) $(patsubst %,%.d,$(programs:.so=) $(peer_programs)) \
         $(fuzz_objects:.o=.d) $(addsuffix .d,$(fuzzers))
