/* roam_sim - lives seeds of two or three nodes whose users have devices that roam between them (runner.h has the command line)
 * and says which promise broke. device_world.h and device_roam.h say what must hold. */
#include "device_plant.h"
#include "runner.h"

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "roam_sim", .plant_count = ROAM_PLANT_END - DEVICE_PLANT_COUNT + 1, .plant_seeds_max = roam_plant_seeds_max,
        .plant_text = roam_plant_text, .live = roam_live,
    };
    return sim_program_main(&program, argc, argv);
}
