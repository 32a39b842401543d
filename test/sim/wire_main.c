/* wire_sim - lives seeds of the node as clients meet it on the wire (runner.h has the command line) and says which
 * promise broke. wire_world.h says what must hold, and why this is a program of its own. */
#include "runner.h"
#include "wire_world.h"

static unsigned wire_plant_seeds_max(unsigned plant)
{
    (void)plant;
    return 100;
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "wire_sim", .plant_count = WIRE_PLANT_COUNT, .plant_seeds_max = wire_plant_seeds_max,
        .plant_text = wire_plant_text, .live = wire_live,
    };
    return sim_program_main(&program, argc, argv);
}
