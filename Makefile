# Shrike: one GNU Makefile, pkg-config, no configure step.
#   make            build ./build/shrike            make test     unit tests
#   make sim        simulation (SEEDS=n)            make fuzz     fuzz targets (SECONDS=n each, needs clang)
#   make bench      benchmarks                      make format   clang-format in place
#   make layers     who may include whom            make install  DESTDIR=, PREFIX=
# B=dir builds elsewhere, CC=clang uses clang, SAN=address|thread adds sanitizers.

B      ?= build
CC     := $(if $(filter default,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
V      ?= 0
Q      := $(if $(filter 1,$(V)),,@)

# Each folder is one archive; a test links its folder's archive and those below it, so the build itself keeps the layers.
FOLDERS     := base crypto wire auth conf store ctl net esp ike run cli
BELOW_base  :=
BELOW_crypto:= base
BELOW_wire  := base
BELOW_net   := base
BELOW_ctl   := base
BELOW_store := base
BELOW_conf  := crypto base
BELOW_auth  := wire crypto base
BELOW_esp   := crypto base
BELOW_ike   := auth conf wire crypto base
BELOW_run   := ike esp net ctl conf store auth wire crypto base
BELOW_cli   := ctl conf crypto base

PACKAGES := libcrypto libmnl jansson libseccomp
CFLAGS   ?= -O2 -g
IPSEC_MB := $(shell printf '\043include <intel-ipsec-mb.h>\n' | $(CC) -E - >/dev/null 2>&1 && echo 1)
ifeq ($(IPSEC_MB),1)
DEFINES  += -DHAVE_IPSEC_MB
MB_LIBS  := -lIPSec_MB
endif

WARNINGS := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla \
            -Wimplicit-fallthrough -Wpointer-arith -Wundef -Wconversion -Wno-sign-conversion -Werror
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-delete-null-pointer-checks \
            -fno-strict-overflow -fPIE -fvisibility=hidden -ftrivial-auto-var-init=zero
LINKHARD := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
ifneq ($(findstring clang,$(CC)),)
HARDEN   += -Wno-gnu-variable-sized-type-not-at-end
ifeq ($(shell $(CC) -ftrivial-auto-var-init=zero -x c -c /dev/null -o /dev/null 2>&1 | grep -c enable-trivial),1)
HARDEN   += -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
endif
endif
ifeq ($(SAN),address)
# gcc warns about the conversions that its own instrumentation makes; the plain build has checked ours.
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Wno-conversion
else ifeq ($(SAN),thread)
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer -Wno-conversion
else
HARDEN   += -D_FORTIFY_SOURCE=2
endif

VERSION  := $(shell cat VERSION)
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE $(DEFINES) -DSHRIKE_VERSION='"$(VERSION)"' -Isrc $(WARNINGS) $(HARDEN) \
             $(shell pkg-config --cflags $(PACKAGES)) $(CFLAGS) $(SANFLAGS) $(EXTRA)
LIBS       = $(shell pkg-config --libs $(PACKAGES)) $(MB_LIBS) -lpthread

objects  = $(patsubst %.c,$(B)/%.o,$(wildcard src/$(1)/*.c))
archive  = $(B)/lib/$(1).a
archives = $(foreach f,$(1),$(call archive,$(f)))

.PHONY: all clean test sim sim-worlds sim-replay sim-shrink fuzz bench format format-check layers install
.SECONDARY:
all: $(B)/shrike $(B)/shrike-load

$(B)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	@[ $(V) = 1 ] || echo "  CC $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

define folder_rules
$(call archive,$(1)): $(call objects,$(1))
	@mkdir -p $$(@D); rm -f $$@
	$(Q)ar rcsD $$@ $$^
.PHONY: lib-$(1) test-$(1)
lib-$(1): $(call archive,$(1))
$(B)/test/unit/$(1)/%: $(B)/test/unit/$(1)/%.o $(call archives,$(1) $(BELOW_$(1)))
	@mkdir -p $$(@D)
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $$(LINKMORE) $$< -Wl,--start-group $(call archives,$(1) $(BELOW_$(1))) -Wl,--end-group -lcmocka $$(LIBS) -o $$@
TESTS_$(1) := $(patsubst %.c,$(B)/%,$(wildcard test/unit/$(1)/test_*.c))
test-$(1): $$(TESTS_$(1))
	@test/run-unit $$(TESTS_$(1))
UNIT_TESTS += $$(TESTS_$(1))
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))

# Refuses memory.
$(B)/test/unit/ike/test_memory: LINKMORE = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc

# Runs under valgrind, and clang's debug information may be too new for it.
$(B)/test/unit/crypto/test_constant_time: LINKMORE = -Wl,--strip-debug

ARCHIVES := $(call archives,$(FOLDERS))
$(B)/shrike: $(B)/src/main.o $(ARCHIVES)
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS) -o $@

# The load generator: many initiators over one socket, used by the benchmarks.
$(B)/shrike-load: $(patsubst %.c,$(B)/%.o,$(wildcard test/bench/load*.c)) $(ARCHIVES)
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS) -o $@

# The data plane alone, with static keys (test/bench/plane.sh).
.PHONY: plane
plane: $(B)/shrike-plane
PLANE_OBJECTS := $(patsubst %,$(B)/%.o,test/bench/plane src/run/esp_worker src/run/esp_send src/run/spawn src/run/title src/run/ipc)
$(B)/shrike-plane: $(PLANE_OBJECTS) $(call archives,esp net crypto base)
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $(filter %.o,$^) -Wl,--start-group $(call archives,esp net crypto base) -Wl,--end-group $(LIBS) -o $@

# Ciphers, PRFs and key exchanges alone.
.PHONY: crypto-bench
crypto-bench: $(B)/crypto-bench
$(B)/crypto-bench: $(B)/test/bench/crypto_bench.o $(call archives,crypto base)
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $< -Wl,--start-group $(call archives,crypto base) -Wl,--end-group $(LIBS) -o $@

# What its code costs a packet, for callgrind (doc/performance.md).
.PHONY: path
path: $(B)/shrike-path
$(B)/shrike-path: $(B)/test/bench/path.o $(call archives,esp crypto base)
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $< -Wl,--start-group $(call archives,esp crypto base) -Wl,--end-group $(LIBS) -o $@

test: $(UNIT_TESTS)
	@test/run-unit $(UNIT_TESTS)

# test/sim: every .c that starts with test_ is a program; the others are the harness.
SIM_HARNESS := $(patsubst %.c,$(B)/%.o,$(filter-out test/sim/test_%,$(wildcard test/sim/*.c)))
SIM_TESTS   := $(patsubst %.c,$(B)/%,$(wildcard test/sim/test_*.c))
SIM_ARCHIVES := $(call archives,ike store $(BELOW_ike))
$(B)/test/sim/test_%: $(B)/test/sim/test_%.o $(SIM_HARNESS) $(SIM_ARCHIVES)
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $(filter %.o,$^) -Wl,--start-group $(SIM_ARCHIVES) -Wl,--end-group -lcmocka $(LIBS) -o $@
# test/sim/worlds: random worlds, one a seed (doc/simulation.md).
comma  := ,
WORLDS := $(B)/test/sim/worlds/worlds
$(WORLDS): $(patsubst %.c,$(B)/%.o,$(wildcard test/sim/worlds/*.c)) $(SIM_HARNESS) $(SIM_ARCHIVES)
	$(Q)$(CC) $(SANFLAGS) $(LINKHARD) $(patsubst %,-Wl$(comma)--wrap=%,getrandom kex_create kex_answer kex_alg kex_value kex_derive kex_free) $(filter %.o,$^) -Wl,--start-group $(SIM_ARCHIVES) -Wl,--end-group -lcmocka $(LIBS) -o $@
SEEDS ?= 2000
SCENARIO_SEEDS ?= 300
sim: $(SIM_TESTS) $(WORLDS)
	@SEEDS=$(SCENARIO_SEEDS) test/run-unit $(SIM_TESTS)
	@$(WORLDS) $(SEEDS)
sim-worlds: $(WORLDS)
	@$(WORLDS) $(SEEDS)
sim-replay: $(WORLDS)
	@SIM_SEED=$(SIM_SEED) SIM_SKIP=$(SIM_SKIP) $(WORLDS) 2>&1
sim-shrink: $(WORLDS)
	@SIM_SEED=$(SIM_SEED) SIM_SHRINK=1 $(WORLDS) 2>&1

# Fuzz targets are whole-program builds by clang with libFuzzer, in a build folder of their own.
SECONDS_EACH := $(if $(SECONDS),$(SECONDS),20)
FUZZ_TARGETS := $(patsubst test/fuzz/%.c,$(B)/fuzz/%,$(wildcard test/fuzz/fuzz_*.c))
FUZZ_SOURCES := $(wildcard $(foreach f,$(FOLDERS),src/$(f)/*.c))
FUZZ_OBJECTS := $(patsubst %.c,$(B)/fuzz-obj/%.o,$(FUZZ_SOURCES))
FUZZ_CFLAGS   = -std=gnu17 -D_GNU_SOURCE $(DEFINES) -DSHRIKE_VERSION='"$(VERSION)"' -DSHRIKE_FUZZ -Isrc -Itest/fuzz \
                $(shell pkg-config --cflags $(PACKAGES)) -O1 -g -fno-omit-frame-pointer
FUZZ_CC      ?= clang
$(B)/fuzz-obj/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -MMD -MP -c $< -o $@
# Those with a pair of engines save what makes one dear (test/fuzz/engine_pair.h).
FUZZ_PAIRS := $(patsubst %,$(B)/fuzz/%,fuzz_engine fuzz_fragment fuzz_ike_input fuzz_responder fuzz_sk)
$(FUZZ_PAIRS): test/fuzz/engine_pair.h
$(FUZZ_PAIRS): FUZZ_WRAP := $(patsubst %,-Wl$(comma)--wrap=%,aead_engine_create aead_engine_free source_table_init secret_wipe)
$(B)/fuzz/%: test/fuzz/%.c $(FUZZ_OBJECTS)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $< $(FUZZ_OBJECTS) $(FUZZ_WRAP) $(LIBS) -o $@
fuzz-build: $(FUZZ_TARGETS)
fuzz: $(FUZZ_TARGETS)
	@test/run-fuzz $(SECONDS_EACH) $(FUZZ_TARGETS)

bench: all
	@B=$(B) test/bench/run.sh

SOURCES := $(shell find src test -name '*.[ch]')
format:
	clang-format -i $(SOURCES)
format-check:
	@clang-format --dry-run -Werror $(SOURCES)
layers:
	@test/layers

install: $(B)/shrike
	install -D -m 755 $(B)/shrike $(DESTDIR)$(PREFIX)/sbin/shrike
	install -D -m 644 doc/shrike.8 $(DESTDIR)$(PREFIX)/share/man/man8/shrike.8

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
