/* device_plant.h - bugs put in on purpose, at the ports that the product stands on. */
#ifndef SIM_DEVICE_PLANT_H
#define SIM_DEVICE_PLANT_H

#include "device_world.h"

/* Before the first node begins. */
void device_plant_init(struct device_world *all);

/* Those of roam_sim, by their number there. */
enum device_plant roam_plant_of(unsigned plant);
const char       *roam_plant_text(unsigned plant);
unsigned          roam_plant_seeds_max(unsigned plant);

struct devices;

/* The devices of a node have joined the cluster. */
void roam_plant_join(struct device_world *all, struct devices *devices);
bool roam_plant_compares_never(const struct device_world *all);

#endif
