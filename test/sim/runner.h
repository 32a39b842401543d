/* runner.h - a simulator's command line: lives seeds, shows how one failed, holds the simulator to its planted bugs.
 *
 *     sim [--seeds N] [--first SEED]      N seeds from SEED on
 *     sim --seed S [--transcript]         one seed, its transcript told
 *     sim --kept FILE                     the seeds of a file: one a line, and what it once found
 *     sim --plant NAME                    with a bug put in on purpose
 *     sim --self-test                     seeds repeat themselves; every planted bug is found within so many seeds
 *
 * Exit status 1 when a promise was broken. The last line is "N passed, N failed". */
#ifndef SIM_RUNNER_H
#define SIM_RUNNER_H

#include "world.h"

struct sim_program {
    const char *name;
    unsigned    plant_count;               /* plant 0 is none */
    unsigned  (*plant_seeds_max)(unsigned plant);  /* within so many it is found … */
    unsigned  (*plant_seed_first)(unsigned plant); /* … from this one on; NULL: from 1 */
    const char *(*plant_text)(unsigned plant);
    /* Lives one seed to its end. False: a promise was broken, and is told in ret_promise. */
    bool        (*live)(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);
};

int sim_program_main(const struct sim_program *program, int argc, char **argv);

#endif
