/* device_plant.h - bugs put in on purpose, at the ports that the product stands on. */
#ifndef SIM_DEVICE_PLANT_H
#define SIM_DEVICE_PLANT_H

#include "device_world.h"

/* Before the first node begins. */
void device_plant_init(struct device_world *all);

#endif
