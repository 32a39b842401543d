#include "http/h2_flood.h"

static void give_back(uint16_t *used, msec count)
{
    *used = count >= *used ? 0 : (uint16_t)(*used - count);
}

/* Whole seconds alone: what is left of one counts later. */
static void h2_flood_fill_up(struct h2_flood *flood, msec now)
{
    msec seconds = (now - flood->at) / 1000;

    if (seconds <= 0)
        return;
    flood->at += seconds * 1000;
    give_back(&flood->resets, seconds * H2_RESETS_PER_S);
    give_back(&flood->idle_frames, seconds * H2_IDLE_FRAMES_PER_S);
}

bool h2_flood_reset(struct h2_flood *flood, msec now)
{
    h2_flood_fill_up(flood, now);
    if (flood->resets == H2_RESETS_MAX)
        return false;
    flood->resets++;
    return true;
}

bool h2_flood_idle(struct h2_flood *flood, msec now)
{
    if (flood->idle_frames == H2_IDLE_FRAMES_MAX)
        h2_flood_fill_up(flood, now);
    if (flood->idle_frames == H2_IDLE_FRAMES_MAX)
        return false;
    flood->idle_frames++;
    return true;
}

void h2_flood_request(struct h2_flood *flood)
{
    give_back(&flood->idle_frames, H2_IDLE_FRAMES_A_REQUEST);
}

void h2_flood_data(struct h2_flood *flood)
{
    give_back(&flood->idle_frames, H2_IDLE_FRAMES_A_DATA);
}
