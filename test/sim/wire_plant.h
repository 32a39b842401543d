/* wire_plant.h - bugs put in on purpose, at the ports that the product stands on or in the answers that it gave. */
#ifndef SIM_WIRE_PLANT_H
#define SIM_WIRE_PLANT_H

#include "node/command.h"
#include "session/cut_frame.h"
#include "wire_client.h"

/* Streams that misbehave. */
void wire_plant_streams(struct wire_world *wire, struct loop_sim *sim);

/* A command on its way to the writer. */
void wire_plant_command(struct wire_world *wire, struct command *command);

/* What a client keeps of a token that names these places. */
void wire_plant_token(const struct wire_world *wire, const struct kept_place places[CHANNELS_MAX], char *token,
                      size_t size);

/* Frames that were cut and let go. */
void wire_plant_cuts(const struct wire_world *wire, struct cut_frames *cuts);

void keys_seen_free(struct keys_seen *keys);

#endif
