#include "runner.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SEEDS_DEFAULT   = 2000,
    REPEAT_SEEDS    = 50,
    LINES_SHOWN     = 40,
    FOUND_STATUS    = 100,  /* exit status of a child that found its bug; sanitizers use low ones */
};

/* Shared between the process that lives the seeds and the one that waits for it. */
struct progress {
    uint64_t seed, passed;
    bool     is_told;  /* the failure has been explained */
};

struct options {
    const struct sim_program *program;
    uint64_t                  first, count;
    unsigned                  plant;
    bool             is_told, is_self_test;
    const char      *kept;
    struct progress *progress;
};

static void show_last_lines(const struct transcript *transcript)
{
    unsigned from = transcript->count > LINES_SHOWN ? transcript->count - LINES_SHOWN : 0;

    for (unsigned i = from; i < transcript->count; i++)
        puts(transcript->lines[i % LINES_SHOWN]);
}

/* Lives it once more, keeping the transcript this time. */
static void show_failure(uint64_t seed, const struct options *options)
{
    const struct sim_program *program = options->program;
    struct transcript transcript = { .is_kept = true };
    char         promise[256];

    if (program->live(seed, options->plant, &transcript, promise)) {
        printf("seed %" PRIu64 " failed, but not when it was repeated: the simulator itself is at fault\n", seed);
        return;
    }
    if (!options->is_told)
        show_last_lines(&transcript);
    printf("seed %" PRIu64 ": %s\n", seed, promise);
    printf("to repeat it: %s --seed %" PRIu64 " --transcript%s%s\n", program->name, seed,
           options->plant == 0 ? "" : " --plant ", options->plant == 0 ? "" : program->plant_text(options->plant));
}

/* A failed seed is the last: it leaves behind what it held. */
static void live_or_end(uint64_t seed, const struct options *options)
{
    struct transcript transcript = { .is_kept = options->is_told, .is_told = options->is_told };
    char         promise[256];

    options->progress->seed = seed;
    if (options->program->live(seed, options->plant, &transcript, promise)) {
        options->progress->passed++;
        return;
    }
    show_failure(seed, options);
    options->progress->is_told = true;
    fflush(stdout);
    _exit(1);
}

static int live_range(const struct options *options)
{
    for (uint64_t i = 0; i < options->count; i++)
        live_or_end(options->first + i, options);
    return 0;
}

static int live_kept(const struct options *options)
{
    char  line[512];
    FILE *file = fopen(options->kept, "r");

    if (file == NULL) {
        perror(options->kept);
        options->progress->is_told = true;
        return 2;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        char    *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end != line)
            live_or_end(seed, options);
    }
    fclose(file);
    return 0;
}

/* In a process of its own, so that one that dies of must() or of a sanitizer has its seed told too. */
static int run(struct options *options)
{
    void *shared = mmap(NULL, sizeof *options->progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int   status;

    if (shared == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    options->progress = shared;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        exit(options->kept != NULL ? live_kept(options) : live_range(options));
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        return 2;
    }
    if (status != 0 && !options->progress->is_told)
        printf("seed %" PRIu64 " ended the process, status %#x\n", options->progress->seed, (unsigned)status);
    printf("%" PRIu64 " passed, %d failed\n", options->progress->passed, status != 0);
    return status != 0;
}

/* --- self-test --- */

static bool seed_repeats_itself(const struct sim_program *program, uint64_t seed)
{
    struct transcript one = { .is_kept = true }, two = { .is_kept = true };
    char         promise[256];

    return program->live(seed, 0, &one, promise) && program->live(seed, 0, &two, promise) &&
           one.hash == two.hash && one.count == two.count && one.count > 0;
}

/* Lives seeds until one finds the planted bug. Says in *found_after how many it took. */
static void live_planted(const struct sim_program *program, unsigned plant, unsigned *found_after)
{
    struct transcript transcript = { 0 };
    char              text[256];

    unsigned first = program->plant_seed_first == NULL ? 1 : program->plant_seed_first(plant);

    for (unsigned i = 1; i <= program->plant_seeds_max(plant); i++) {
        if (program->live(first + i - 1, plant, &transcript, text))
            continue;
        *found_after = i;
        _exit(FOUND_STATUS);
    }
    _exit(0);
}

/* After how many seeds the planted bug was found; 0: it was not. In a process of its own: it leaves things behind. */
static unsigned plant_found_after(const struct sim_program *program, unsigned plant, unsigned *found_after)
{
    int status;

    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0)
        live_planted(program, plant, found_after);
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == FOUND_STATUS ? *found_after : 0;
}

static int run_self_test(const struct sim_program *program)
{
    unsigned  passed = 0, failed = 0;
    unsigned *found_after = mmap(NULL, sizeof *found_after, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (found_after == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    for (uint64_t seed = 1; seed <= REPEAT_SEEDS; seed++) {
        bool is_good = seed_repeats_itself(program, seed);
        if (!is_good)
            printf("seed %" PRIu64 " does not repeat itself\n", seed);
        *(is_good ? &passed : &failed) += 1;
    }
    for (unsigned plant = 1; plant < program->plant_count; plant++) {
        unsigned after = plant_found_after(program, plant, found_after);
        if (after > 0)
            printf("planted %s: found after %u seeds\n", program->plant_text(plant), after);
        else
            printf("planted %s: NOT FOUND within %u seeds\n", program->plant_text(plant),
                   program->plant_seeds_max(plant));
        *(after > 0 ? &passed : &failed) += 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

/* --- the command line --- */

static unsigned plant_of(const struct sim_program *program, const char *name)
{
    for (unsigned plant = 0; plant < program->plant_count; plant++)
        if (strcmp(program->plant_text(plant), name) == 0)
            return plant;
    fprintf(stderr, "sim: no such bug to plant: %s\n", name);
    exit(2);
}

static uint64_t number_of(const char *text)
{
    uint64_t number;

    if (span_u64(span_str(text), &number))
        return number;
    fprintf(stderr, "sim: not a number: %s\n", text);
    exit(2);
}

static struct options options_of(const struct sim_program *program, int argc, char **argv)
{
    static const struct option longs[] = {
        { "seeds", required_argument, NULL, 'n' },   { "first", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 's' },    { "transcript", no_argument, NULL, 't' },
        { "plant", required_argument, NULL, 'p' },   { "kept", required_argument, NULL, 'k' },
        { "self-test", no_argument, NULL, 'c' },    { 0 },
    };
    struct options options = { .program = program, .first = 1, .count = SEEDS_DEFAULT };
    int            option;

    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 'n': options.count = number_of(optarg); break;
        case 'f': options.first = number_of(optarg); break;
        case 's': options.first = number_of(optarg); options.count = 1; break;
        case 't': options.is_told = true; break;
        case 'p': options.plant = plant_of(program, optarg); break;
        case 'k': options.kept = optarg; break;
        case 'c': options.is_self_test = true; break;
        default:
            fputs("usage: sim [--seeds N] [--first SEED] [--seed S] [--transcript] [--kept FILE] [--plant NAME] "
                  "[--self-test]\n", stderr);
            exit(2);
        }
    }
    return options;
}

int sim_program_main(const struct sim_program *program, int argc, char **argv)
{
    struct options options = options_of(program, argc, argv);

    if (options.is_self_test)
        return run_self_test(program);
    return run(&options);
}
