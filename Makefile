# Longwire. Commands for newcomers:
#   make run    installs what is missing, builds, starts a server on ./data
#   make cluster   the same for three nodes, with a PostgreSQL and a Redis of their own
#   make test   installs what the tests need, builds with sanitizers, runs everything that CI runs
# For daily work: make (build only), make unit, make system, make fuzz, make sim, make bench, make help

.DEFAULT_GOAL := all
CC      ?= gcc
FLAVOUR ?= release
BUILD   ?= build
DEBUG_INFO ?= -g1

WARN := -std=gnu17 -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wswitch-enum -Wvla -Wpointer-arith \
        -Wno-missing-field-initializers -Werror
HARD := -fstack-protector-strong -fPIE
LINK := -pie -Wl,-z,relro,-z,now

ifeq ($(FLAVOUR),release)
OUT    := $(BUILD)
CFLAGS_FLAVOUR := -O2 -g -fno-plt -D_FORTIFY_SOURCE=2
else ifeq ($(FLAVOUR),san)
OUT    := $(BUILD)/san
# -g1: what a report of a sanitizer tells, in a fourth less time; FLAVOUR=san DEBUG_INFO=-g for a debugger.
CFLAGS_FLAVOUR := -O1 $(DEBUG_INFO) -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LINK   += -fsanitize=address,undefined
else ifeq ($(FLAVOUR),tsan)
OUT    := $(BUILD)/tsan
CFLAGS_FLAVOUR := -O1 $(DEBUG_INFO) -fno-omit-frame-pointer -fsanitize=thread
LINK   += -fsanitize=thread
else ifeq ($(FLAVOUR),fuzz)
OUT    := $(BUILD)/fuzz
CC     := clang
CFLAGS_FLAVOUR := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
LINK   += -fsanitize=address,undefined
endif

CFLAGS += $(WARN) $(HARD) $(CFLAGS_FLAVOUR)
CPPFLAGS += -D_GNU_SOURCE -Isrc -I$(OUT)/gen -isystem /usr/include/postgresql -MMD -MP

# --- modules ---------------------------------------------------------------------------------------------------
# One archive a module; what a module may be linked with is what src/MODULES lets it see.
MODULES  := base message codec hub store route settings reactor fetch node device http publish auth session cluster uplink api main
# Sanitizers bring a malloc of their own.
MALLOC   := $(if $(filter release,$(FLAVOUR)),-ljemalloc)
LIBS     := $(MALLOC) -lrocksdb -lssl -lcrypto -lcurl -linih -lz -Wl,--as-needed -lpq -lhiredis -lseccomp -Wl,--no-as-needed -lpthread -lm
# nghttp2 is whom HTTP/2 is held against.
TEST_LIBS = $(LIBS) -lnghttp2
sources   = $(filter-out %_test.c %_fuzz.c %_battery.c src/main/main.c,$(wildcard src/$(1)/*.c src/$(1)/*/*.c))
objects   = $(patsubst src/%.c,$(OUT)/obj/%.o,$(call sources,$(1)))
sees      = $(1) $(shell sed -n 's/^$(1)://p' src/MODULES)
archives  = $(foreach module,$(call sees,$(1)),$(if $(call sources,$(module)),$(OUT)/lib$(module).a))

# A list of its objects, which changes when a source is added, removed or moved: then the archive is made anew.
define module_rules
$(OUT)/lib$(1).a: $(call objects,$(1)) $(OUT)/gen/$(1).list
	@rm -f $$@
	@ar rcs $$@ $$(filter %.o,$$^)
$(OUT)/gen/$(1).list: FORCE
	@mkdir -p $$(@D)
	@echo '$(call objects,$(1))' | cmp -s - $$@ || echo '$(call objects,$(1))' > $$@
endef
.PHONY: FORCE
$(foreach module,$(MODULES),$(eval $(call module_rules,$(module))))

$(OUT)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(OUT)/obj/store/pg_sql.o: $(wildcard src/store/pg_schema*.sql)
$(OUT)/obj/store/redis.o: src/store/redis_script.lua
$(OUT)/obj/main/pages.o: $(wildcard web/* clients/js/index.js clients/js/lib/*) docs/openapi.json

# --- programs ---------------------------------------------------------------------------------------------------
PROGRAMS := $(OUT)/longwired $(OUT)/longwire $(OUT)/longwire-bench

all: $(PROGRAMS) tool-pages client

$(OUT)/longwired: $(OUT)/obj/main/main.o $(foreach module,$(MODULES),$(if $(call sources,$(module)),$(OUT)/lib$(module).a))
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# --- the client library: clients/c, and what it uses of base and codec, position-independent; only lw_… is exported ----
CLIENT_SRC   = $(filter-out %_test.c,$(wildcard clients/c/*.c))
CLIENT_OBJ   = $(patsubst %.c,$(OUT)/obj/pic/%.o,$(CLIENT_SRC))
CLIENT_PARTS = $(patsubst %.c,$(OUT)/obj/pic/%.o,$(filter-out %_test.c %_fuzz.c %_battery.c,$(wildcard src/base/*.c \
    src/message/*.c src/codec/bin/*.c src/codec/json/*.c)))
CLIENT_LIBS := -lssl -lcrypto -lpthread
CLIENT_VERSION := $(shell sed -n 's/.*LONGWIRE_VERSION "\(.*\)"/\1/p' src/base/version.h)
CLIENT_SONAME  := liblongwire.so.0
$(OUT)/obj/pic/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -c -o $@ $<
$(OUT)/obj/pic/%_test.o: CPPFLAGS += -Itest
$(OUT)/libclientparts.a: $(CLIENT_PARTS)
	@rm -f $@
	@ar rcs $@ $^
$(OUT)/liblongwire.so: $(CLIENT_OBJ) $(OUT)/libclientparts.a
	@echo "  ld $@"
	@$(CC) -shared -Wl,-soname,$(CLIENT_SONAME) $(filter-out -pie,$(LINK)) -o $@ $^ -Wl,--exclude-libs,ALL $(CLIENT_LIBS)
	@ln -sf liblongwire.so $(OUT)/$(CLIENT_SONAME)
# One object, so that the names which its files share can be made local.
$(OUT)/liblongwire.a: $(CLIENT_OBJ) $(OUT)/libclientparts.a
	@echo "  ar $@"
	@ld -r -o $(OUT)/obj/pic/longwire.o $^
	@objcopy --localize-hidden $(OUT)/obj/pic/longwire.o
	@rm -f $@
	@ar rcs $@ $(OUT)/obj/pic/longwire.o
client: $(OUT)/liblongwire.so $(OUT)/liblongwire.a

# What the behaviour suite of the client libraries runs: test/system/test_client_cuts.py.
$(OUT)/obj/clients/c/test/%.o: clients/c/test/%.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CPPFLAGS) -Iclients/c $(CFLAGS) -c -o $@ $<
$(OUT)/client-follow: $(OUT)/obj/clients/c/test/follow.o $(OUT)/liblongwire.a $(call archives,codec)
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CLIENT_LIBS)

TOOL_SRC  = $(wildcard tools/longwire/*.c)
BENCH_SRC = $(wildcard tools/bench/*.c)
$(OUT)/obj/tools/%.o: tools/%.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CPPFLAGS) -Itools $(CFLAGS) -c -o $@ $<
$(OUT)/obj/tools/longwire/%.o: CPPFLAGS += -Iclients/c
$(OUT)/longwire: $(patsubst tools/%.c,$(OUT)/obj/tools/%.o,$(filter-out %_test.c,$(TOOL_SRC))) $(call archives,codec) $(OUT)/liblongwire.a
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcurl $(CLIENT_LIBS)
$(OUT)/longwire-bench: $(patsubst tools/%.c,$(OUT)/obj/tools/%.o,$(filter-out %_test.c,$(BENCH_SRC))) $(OUT)/libbase.a
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $^ -lpthread -lm

# The tool's man page, and what shells offer behind it: made from the table in tools/longwire/commands.c.
TOOL_PAGES := $(OUT)/share/longwire.1 $(OUT)/share/longwire.bash $(OUT)/share/longwire.zsh $(OUT)/share/longwire.fish
$(OUT)/share/longwire.1: $(OUT)/longwire
	@mkdir -p $(@D)
	@$< man >$@
$(OUT)/share/longwire.%: $(OUT)/longwire
	@mkdir -p $(@D)
	@$< completion $* >$@

STORE_BENCH_SRC = $(wildcard tools/store_bench/*.c)
$(OUT)/store-bench: $(patsubst tools/%.c,$(OUT)/obj/tools/%.o,$(STORE_BENCH_SRC)) $(call archives,store)
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# The raw loop that tools/bench/postgres holds durable publishes against.
$(OUT)/postgres-loop: $(OUT)/obj/tools/postgres_loop/main.o $(call archives,store)
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# What a request of a named device takes at least, which tools/bench/floor holds nginx and Longwire against.
$(OUT)/request-floor: $(OUT)/obj/tools/request_floor/main.o $(call archives,store)
	@echo "  ld $@"
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# --- unit tests: src/MODULE/…/x_test.c becomes OUT/test/MODULE/…/x_test; src/MODULE/x_battery.c is linked to all of them
TEST_LIB_SRC = $(filter-out %_test.c,$(wildcard test/lib/*.c))
TEST_LIB_OBJ = $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(TEST_LIB_SRC))
UNIT_SRC    := $(wildcard src/*/*_test.c src/*/*/*_test.c)
batteries    = $(patsubst src/%.c,$(OUT)/obj/%.o,$(wildcard src/$(1)/*_battery.c))
UNITS       := $(patsubst src/%.c,$(OUT)/test/%,$(UNIT_SRC))
$(OUT)/obj/test/%.o: test/%.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CPPFLAGS) -Itest $(CFLAGS) -c -o $@ $<
$(OUT)/obj/%_test.o $(OUT)/obj/%_battery.o $(OUT)/obj/%_fuzz.o: CPPFLAGS += -Itest

define unit_rule
$(OUT)/test/$(1): $(OUT)/obj/$(1).o $(call batteries,$(firstword $(subst /, ,$(1)))) $(call archives,$(firstword $(subst /, ,$(1)))) $(TEST_LIB_OBJ)
	@mkdir -p $$(@D)
	@$(CC) $(LINK) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(TEST_LIBS) -lcmocka
endef
$(foreach unit,$(UNIT_SRC),$(eval $(call unit_rule,$(patsubst src/%.c,%,$(unit)))))
# The engine on PostgreSQL has the same private server as the store.
$(OUT)/test/cluster/pg_engine_test: $(call batteries,store)
# A stream of HTTP/2 is one of the reactor's.
$(OUT)/test/http/h2_stream_test: $(call batteries,reactor)

# A tool's unit tests: tools/bench/x_test.c becomes OUT/test/tools/bench/x_test, with all of the tool but its main.
BENCH_UNITS := $(patsubst tools/%.c,$(OUT)/test/tools/%,$(wildcard tools/bench/*_test.c))
$(BENCH_UNITS): $(OUT)/test/tools/%: $(OUT)/obj/tools/%.o $(OUT)/libbase.a \
        $(patsubst tools/%.c,$(OUT)/obj/tools/%.o,$(filter-out %_test.c %/main.c,$(BENCH_SRC)))
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) $(OUT)/libbase.a -lcmocka -lpthread -lm

TOOL_UNITS := $(patsubst tools/%.c,$(OUT)/test/tools/%,$(wildcard tools/longwire/*_test.c))
$(TOOL_UNITS): $(OUT)/test/tools/%: $(OUT)/obj/tools/%.o \
        $(patsubst tools/%.c,$(OUT)/obj/tools/%.o,$(filter-out %_test.c %/main.c,$(TOOL_SRC))) $(call archives,codec) \
        $(OUT)/liblongwire.a
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcurl $(CLIENT_LIBS) -lcmocka

# The client library's: clients/c/x_test.c becomes OUT/test/clients/c/x_test.
CLIENT_UNITS := $(patsubst %.c,$(OUT)/test/%,$(wildcard clients/c/*_test.c))
$(CLIENT_UNITS): $(OUT)/test/%: $(OUT)/obj/pic/%.o $(CLIENT_OBJ) $(OUT)/libclientparts.a $(OUT)/obj/test/lib/laws.o
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) $(OUT)/libclientparts.a -lcmocka $(CLIENT_LIBS)

SIM_WIDER = test/sim/wire_% test/sim/device_% test/sim/cluster_% test/sim/roam_% test/sim/engine_% test/sim/uplink_% test/sim/forward_%
# The simulators' own: the disk that they share is held to the battery of the ledger port.
SIM_UNITS := $(OUT)/test/sim/ledger_sim_test
$(SIM_UNITS): $(patsubst %.c,$(OUT)/obj/%.o,test/sim/ledger_sim_test.c $(filter-out %_test.c %/main.c $(SIM_WIDER),$(wildcard test/sim/*.c))) \
        $(call batteries,store) $(foreach module,base message hub store route node,$(if $(call sources,$(module)),$(OUT)/lib$(module).a)) $(TEST_LIB_OBJ)
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(TEST_LIBS) -lcmocka
$(OUT)/obj/test/sim/ledger_sim_test.o: CPPFLAGS += -Itest

units: $(UNITS) $(SIM_UNITS) $(BENCH_UNITS) $(TOOL_UNITS) $(CLIENT_UNITS)

# The simulators see all but main. sim has the node without its wires; cluster_sim has several, and what carries them;
# wire_sim has wires; device_sim has users with devices, too; roam_sim has them on several nodes; uplink_sim has
# requests to back ends; forward_sim carries messages to them.
SIM_SRC  = $(filter-out $(SIM_WIDER) %_test.c,$(wildcard test/sim/*.c))
WIRE_SRC = $(SIM_SRC:test/sim/main.c=) $(wildcard test/sim/wire_*.c)
CLUSTER_SRC = $(SIM_SRC:test/sim/main.c=) $(wildcard test/sim/cluster_*.c) test/sim/engine_mail.c
DEVICE_SRC = $(filter-out %_main.c,$(WIRE_SRC)) $(wildcard test/sim/device_*.c) test/sim/engine_mail.c
UPLINK_SRC = $(SIM_SRC:test/sim/main.c=) $(wildcard test/sim/uplink_*.c)
FORWARD_SRC = $(SIM_SRC:test/sim/main.c=) $(wildcard test/sim/forward_*.c)
ROAM_SRC = $(filter-out %_main.c,$(DEVICE_SRC)) test/sim/roam_main.c
# What revocations do on a loop stands in main.
SIM_MAIN = $(patsubst %,$(OUT)/obj/main/%.o,control revocations_load)
$(OUT)/test/sim/sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(SIM_SRC)) $(foreach module,base message hub store route node,$(if $(call sources,$(module)),$(OUT)/lib$(module).a))
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
$(OUT)/test/sim/cluster_sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(CLUSTER_SRC)) $(call archives,cluster)
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
$(OUT)/test/sim/uplink_sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(UPLINK_SRC))
$(OUT)/test/sim/forward_sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(FORWARD_SRC))
$(OUT)/test/sim/uplink_sim $(OUT)/test/sim/forward_sim: $(call archives,uplink)
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
$(OUT)/test/sim/wire_sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(WIRE_SRC))
$(OUT)/test/sim/device_sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(DEVICE_SRC))
$(OUT)/test/sim/roam_sim: $(patsubst test/%.c,$(OUT)/obj/test/%.o,$(ROAM_SRC))
$(OUT)/test/sim/device_sim $(OUT)/test/sim/roam_sim: $(call archives,cluster)
$(OUT)/test/sim/wire_sim $(OUT)/test/sim/device_sim $(OUT)/test/sim/roam_sim: $(SIM_MAIN) $(call archives,session) $(call archives,api)
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# Transcript programs: test/transcript/*.c. Each writes what a codec makes of its input, for the differential tests.
TRANSCRIPTS := $(patsubst test/%.c,$(OUT)/test/%,$(wildcard test/transcript/*.c))
$(TRANSCRIPTS): $(OUT)/test/%: $(OUT)/obj/test/%.o $(OUT)/obj/test/lib/laws.o $(call archives,codec)
	@mkdir -p $(@D)
	@$(CC) $(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
transcripts: $(TRANSCRIPTS)

# --- fuzzers: src/codec/…/x_fuzz.c; libFuzzer with FLAVOUR=fuzz, else a replayer of the corpus ---------------------
FUZZ_SRC := $(wildcard src/*/*_fuzz.c src/*/*/*_fuzz.c)
FUZZERS  := $(patsubst src/%.c,$(OUT)/fuzz/%,$(FUZZ_SRC))
ifeq ($(FLAVOUR),fuzz)
FUZZ_MAIN := -fsanitize=fuzzer
else
FUZZ_MAIN := $(OUT)/obj/test/fuzz/replay.o
$(FUZZERS): $(OUT)/obj/test/fuzz/replay.o
endif
define fuzz_rule
$(OUT)/fuzz/$(1): $(OUT)/obj/$(1).o $(OUT)/obj/test/lib/laws.o $(call archives,$(firstword $(subst /, ,$(1))))
	@mkdir -p $$(@D)
	@$(CC) $(LINK) -o $$@ $(OUT)/obj/$(1).o $(OUT)/obj/test/lib/laws.o $(FUZZ_MAIN) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(TEST_LIBS)
endef
$(foreach fuzz,$(FUZZ_SRC),$(eval $(call fuzz_rule,$(patsubst src/%.c,%,$(fuzz)))))
fuzzers: $(FUZZERS)

# --- how fast, how light: Longwire and its peers in one run, into docs/performance.md ------------------------------
# As many sessions as this machine holds, on fifty nodes of one cluster; takes some minutes and most of the memory.
million:
	@setup/packages cluster
	@$(MAKE) --no-print-directory FLAVOUR=release all
	@tools/bench/million --build $(BUILD)

bench:
	@setup/packages bench
	@$(MAKE) --no-print-directory FLAVOUR=release all
	@tools/bench/run --build $(BUILD) --write docs/performance.md
	@tools/bench/edge --build $(BUILD) --write docs/performance.md

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)

# --- the two commands, and daily ones ------------------------------------------------------------------------------
JOBS     := -j$(shell nproc)
SAN      := $(BUILD)/san
DATA     ?= $(if $(LONGWIRE_DATA),$(LONGWIRE_DATA),./data)

run:
	@setup/packages run
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/longwired $(BUILD)/longwire
	@exec $(BUILD)/longwired --data $(DATA) $(ARGS)

# Three nodes with a PostgreSQL and a Redis of their own, under $(DATA)/cluster, until Ctrl-C.
cluster:
	@setup/packages cluster
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/longwired $(BUILD)/longwire
	@exec setup/cluster --build $(BUILD) --data $(DATA)/cluster $(ARGS)

# All that the tests run, under ASan and UBSan; what threads share, under TSan too.
test-build:
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=san $(SAN)/longwired $(SAN)/longwire $(SAN)/longwire-bench units fuzzers \
	    transcripts preloads client tool-pages $(SAN)/client-follow $(SAN)/test/sim/sim $(SAN)/test/sim/cluster_sim $(SAN)/test/sim/wire_sim $(SAN)/test/sim/device_sim $(SAN)/test/sim/roam_sim $(SAN)/test/sim/uplink_sim $(SAN)/test/sim/forward_sim
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=tsan $(BUILD)/tsan/longwired tsan-units
	@$(MAKE) --no-print-directory $(JOBS) base-units $(BUILD)/longwired
	@$(MAKE) --no-print-directory $(JOBS) clang-check
	@setup/javascript $(SAN)/javascript

TSAN_UNITS = $(filter $(OUT)/test/reactor/% $(OUT)/test/fetch/% $(OUT)/test/store/% $(OUT)/test/node/% $(OUT)/test/message/% \
    $(OUT)/test/cluster/% $(OUT)/test/main/hand_over_gate_test,$(UNITS)) $(CLIENT_UNITS)
tsan-units: $(TSAN_UNITS)
# As they are shipped: under a sanitizer a pool, for one, is malloc; and none can be made to fail.
base-units: $(filter $(OUT)/test/base/%,$(UNITS))

# Libraries that tests preload into the server: test/lib/preload/x.c becomes OUT/x.so.
PRELOADS := $(patsubst test/lib/preload/%.c,$(OUT)/%.so,$(wildcard test/lib/preload/*.c))
$(PRELOADS): $(OUT)/%.so: test/lib/preload/%.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) -D_GNU_SOURCE $(WARN) -O1 -g -fPIC -shared -o $@ $< -ldl
preloads: $(PRELOADS)

# The other compiler's opinion, without code.
CLANG_CHECKED := $(patsubst %.c,$(BUILD)/clang/%.ok,$(wildcard src/*/*.c src/*/*/*.c tools/*/*.c clients/c/*.c clients/c/test/*.c test/sim/*.c \
    test/lib/*.c test/transcript/*.c))
$(BUILD)/clang/%.ok: %.c
	@mkdir -p $(@D)
	@clang $(CPPFLAGS) -MF $(@:.ok=.d) -MT $@ -Itest -Itools -Iclients/c $(WARN) -fsyntax-only $<
	@touch $@
clang-check: $(CLANG_CHECKED)
-include $(shell find $(BUILD)/clang -name '*.d' 2>/dev/null)

# make install PREFIX=/usr/local DESTDIR=/tmp/package: programs, man page, completions, the unit for systemd, and the
# client library with its header and pkg-config file. It builds nothing, so that it can run as root behind a plain `make`.
PREFIX    ?= /usr/local
ZSH_PLACE := share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
tool-pages: $(TOOL_PAGES)
install:
	@test -x $(BUILD)/longwired && test -e $(BUILD)/share/longwire.1 || { echo 'run `make` first'; exit 1; }
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/man/man1 share/bash-completion/completions \
	    $(ZSH_PLACE) share/fish/vendor_completions.d include lib/pkgconfig lib/systemd/system)
	install -m 755 $(BUILD)/longwired $(BUILD)/longwire $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/share/longwire.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(BUILD)/share/longwire.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/longwire
	install -m 644 $(BUILD)/share/longwire.zsh $(DESTDIR)$(PREFIX)/$(ZSH_PLACE)/_longwire
	install -m 644 $(BUILD)/share/longwire.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 644 clients/c/longwire.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(BUILD)/liblongwire.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/liblongwire.so $(DESTDIR)$(PREFIX)/lib/$(CLIENT_SONAME).$(CLIENT_VERSION)
	ln -sf $(CLIENT_SONAME).$(CLIENT_VERSION) $(DESTDIR)$(PREFIX)/lib/$(CLIENT_SONAME)
	ln -sf $(CLIENT_SONAME) $(DESTDIR)$(PREFIX)/lib/liblongwire.so
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(CLIENT_VERSION)|' clients/c/longwire.pc.in \
	    >$(DESTDIR)$(PREFIX)/lib/pkgconfig/longwire.pc
	sed 's|/usr/local/bin|$(PREFIX)/bin|' setup/longwired.service \
	    >$(DESTDIR)$(PREFIX)/lib/systemd/system/longwired.service

test:
	@setup/packages test
	@$(MAKE) --no-print-directory test-build
	@test/run $(SAN) checks units plain fuzz sim tsan system

unit:
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=san units
	@test/run $(SAN) checks units
sim:
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=san $(SAN)/test/sim/sim $(SAN)/test/sim/cluster_sim $(SAN)/test/sim/wire_sim $(SAN)/test/sim/device_sim $(SAN)/test/sim/roam_sim $(SAN)/test/sim/uplink_sim $(SAN)/test/sim/forward_sim
	@test/run $(SAN) sim
# Clusters alone, many of them, without sanitizers.
cluster-seeds:
	@$(MAKE) --no-print-directory $(JOBS) $(OUT)/test/sim/cluster_sim
	@$(OUT)/test/sim/cluster_sim --seeds $(or $(SIM_SEEDS),100000)
system:
	@$(MAKE) --no-print-directory test-build
	@test/run $(SAN) system

# Hours on two processors (CONTRIBUTING.md): what `make test` does briefly, at the size that docs/threats.md names (test/run says which). Most
# seeds are lived without sanitizers.
SIM_PROGRAMS := $(addprefix test/sim/,sim cluster_sim wire_sim device_sim roam_sim uplink_sim forward_sim)
soak:
	@$(MAKE) --no-print-directory test-build
	@$(MAKE) --no-print-directory $(JOBS) $(addprefix $(BUILD)/,$(SIM_PROGRAMS))
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=tsan $(addprefix $(BUILD)/tsan/,longwired longwire longwire-bench client-follow) \
	    preloads transcripts
	@setup/javascript $(BUILD)/tsan/javascript
	@SIM_SEEDS=30000 test/run $(SAN) soak threads sim seeds

# What a cluster loses: each fault with each engine and in each way, at full length, into docs/loss-table.md. `make test` has a part of
# them, briefly.
FAILURE_ROUNDS ?= 3
failures:
	@setup/packages test
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=san $(SAN)/longwired $(SAN)/longwire $(SAN)/client-follow
	@test/loss-table --run $(FAILURE_ROUNDS) $(SAN)

# Requests over links that are cut, alone and in a cluster, and uploads whose back end is away, at full length; it writes docs/uplink.md anew.
uplink-cuts:
	@setup/packages test
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/longwired $(BUILD)/longwire
	@test/uplink-cuts --write $(BUILD)

# A cluster goes from the build in BEFORE, a folder with a longwired, to this one, node by node and under load.
upgrade:
	@test -x "$(BEFORE)/longwired" || { echo 'BEFORE must name a folder with the longwired of the release before' >&2; exit 2; }
	@setup/packages test
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/longwired
	@test/upgrade "$(BEFORE)" $(BUILD)

# The container's image from its Dockerfile, without a daemon; minutes. IMAGE_FOLDER keeps the base system for next time.
docker-check:
	@setup/packages image
	@test/image $(IMAGE_FOLDER)

# A minute of each fuzzer by default: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 60
fuzz:
	@setup/packages test
	@$(MAKE) --no-print-directory $(JOBS) FLAVOUR=fuzz fuzzers
	@for fuzzer in $$(find $(BUILD)/fuzz/fuzz -name '*_fuzz' -type f); do \
	    name=$$(basename $$fuzzer _fuzz); mkdir -p $(BUILD)/fuzz/found/$$name; \
	    echo "$$name: $(FUZZ_SECONDS) s"; \
	    $$fuzzer -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 \
	        -artifact_prefix=$(BUILD)/fuzz/found/$$name- $(BUILD)/fuzz/found/$$name test/fuzz/corpus/$$name || exit 1; done

help:
	@echo 'make run      install what is missing, build, start a server on ./data (DATA=DIR, ARGS="--flag ...")'
	@echo 'make cluster  the same for three nodes, with a PostgreSQL and a Redis of their own'
	@echo 'make test     install what the tests need, build with sanitizers, run everything that CI runs'
	@echo 'make          build longwired, longwire and longwire-bench into build/'
	@echo 'make unit     unit tests          make system   tests with real processes'
	@echo 'make sim      the simulators      (SIM_SEEDS=100000)'
	@echo 'make cluster-seeds  the simulator of clusters alone, 100,000 seeds'
	@echo 'make fuzz     each fuzzer for a minute (FUZZ_SECONDS=600)'
	@echo 'make soak     long runs of what make test does briefly'
	@echo 'make upgrade  a cluster goes from the build in BEFORE to this one, under load'
	@echo 'make failures the failures of a cluster at full length; writes docs/loss-table.md (FAILURE_ROUNDS=3)'
	@echo 'make uplink-cuts  requests over links that are cut, alone and in a cluster; writes docs/uplink.md'
	@echo 'make bench    benchmarks beside nchan, mosquitto, Redis, nginx and HAProxy; writes docs/performance.md'
	@echo 'make million  a million sessions on fifty nodes, or as many as this machine holds'
	@echo 'make install  put programs, man page, completions and unit into place (PREFIX=/usr/local DESTDIR=)'
	@echo 'make docker-check  build the image of the Dockerfile with buildah, and try it (IMAGE_FOLDER=DIR)'
	@echo 'make clean'

.PHONY: all client cluster failures uplink-cuts upgrade docker-check install tool-pages bench million units transcripts fuzzers clean run test test-build tsan-units base-units preloads clang-check unit sim cluster-seeds system soak fuzz help
clean:
	rm -rf $(BUILD)
