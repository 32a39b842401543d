#include "wire_plant.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "session/link.h"

enum { KEYS_SEEN_MAX = 2048 };

const char *wire_plant_text(unsigned plant)
{
    static const char *const texts[WIRE_PLANT_COUNT] = {
        [WIRE_PLANT_NONE] = "none",
        [WIRE_PLANT_CUT_FRAME] = "cut-frame",
        [WIRE_PLANT_FAR_TOKEN] = "far-token",
        [WIRE_PLANT_NO_REWIND] = "no-rewind",
        [WIRE_PLANT_POLL_STEPS] = "poll-steps",
        [WIRE_PLANT_OVERTAKE] = "overtake",
        [WIRE_PLANT_NOT_HEALED] = "not-healed",
        [WIRE_PLANT_FORGET_KEY] = "forget-key",
        [WIRE_PLANT_HALF_CLOSED] = "half-closed",
        [WIRE_PLANT_REMADE_OFF] = "remade-off",
    };
    return texts[plant];
}

/* --- streams: what became of the last write stands in stream->number, of which a simulated maker makes nothing --- */

enum { WHOLE = -1, CUT = 1, RESUMED = 2, ENDED = 3 };

static const struct stream_ops *plain_ops;  /* the same for every loop */

static ssize_t write_noting_cuts(struct stream *stream, struct span bytes)
{
    ssize_t put = plain_ops->write(stream, bytes);

    stream->number = put > 0 && (size_t)put < bytes.len ? CUT : put == (ssize_t)bytes.len ? WHOLE : stream->number;
    return put;
}

/* The byte behind the cut is not sent. */
static ssize_t write_one_off(struct stream *stream, struct span bytes)
{
    if (stream->number != CUT || bytes.len < 2)
        return write_noting_cuts(stream, bytes);
    ssize_t put = plain_ops->write(stream, span_skip(bytes, 1));
    if (put < 0)
        return put;
    stream->number = (size_t)put + 1 < bytes.len ? CUT : WHOLE;
    return put + 1;
}

/* The rest of the frame is sent; what should come again behind it is not. */
static ssize_t write_not_again(struct stream *stream, struct span bytes)
{
    if (stream->number == RESUMED) {
        stream->number = WHOLE;
        return (ssize_t)bytes.len;
    }
    bool    was_cut = stream->number == CUT;
    ssize_t put     = write_noting_cuts(stream, bytes);
    if (was_cut && put == (ssize_t)bytes.len)
        stream->number = RESUMED;
    return put;
}

static ssize_t read_noting_end(struct stream *stream, void *into, size_t len)
{
    ssize_t got = plain_ops->read(stream, into, len);

    if (got == 0)
        stream->number = ENDED;
    return got;
}

static ssize_t write_before_end(struct stream *stream, struct span bytes)
{
    return stream->number == ENDED ? (ssize_t)bytes.len : plain_ops->write(stream, bytes);
}

void wire_plant_streams(struct wire_world *wire, struct loop_sim *sim)
{
    static struct stream_ops ops;

    if (wire->plant != WIRE_PLANT_CUT_FRAME && wire->plant != WIRE_PLANT_NO_REWIND &&
        wire->plant != WIRE_PLANT_HALF_CLOSED)
        return;
    plain_ops = sim->plain.ops;
    ops       = *plain_ops;
    if (wire->plant == WIRE_PLANT_CUT_FRAME)
        ops.write = write_one_off;
    if (wire->plant == WIRE_PLANT_NO_REWIND)
        ops.write = write_not_again;
    if (wire->plant == WIRE_PLANT_HALF_CLOSED) {
        ops.read  = read_noting_end;
        ops.write = write_before_end;
    }
    sim->plain.ops = &ops;
}

/* --- frames that were cut --- */

/* The frame that is made again goes on one byte too far. */
static void let_go_one_off(struct cut_frame *cut)
{
    if (cut_frame_left(cut) > 1)
        cut->at++;
    link_let_cut_go(cut);
}

void wire_plant_cuts(const struct wire_world *wire, struct cut_frames *cuts)
{
    if (wire->plant == WIRE_PLANT_REMADE_OFF)
        cuts->let_go = let_go_one_off;
}

/* --- tokens --- */

void wire_plant_token(const struct wire_world *wire, const struct kept_place places[CHANNELS_MAX], char *token,
                      size_t size)
{
    struct place far[CHANNELS_MAX];
    size_t       count = 0;
    struct buf   made;

    if (wire->plant != WIRE_PLANT_FAR_TOKEN)
        return;
    for (unsigned i = 0; i < wire->world.channel_count; i++)
        if (places[i].is_known)
            far[count++] = (struct place){ channel_name_span(wire->world.channels[i]), places[i].epoch,
                                           places[i].seq + 1 };
    buf_init(&made, size);
    token_put(&made, far, count);
    snprintf(token, size, "%.*s", SPAN_ARG(buf_span(&made)));
    buf_fini(&made);
}

/* --- commands --- */

struct keys_seen {
    size_t count;
    char   at[KEYS_SEEN_MAX][24];
};

static bool key_is_seen(struct keys_seen *keys, struct span key)
{
    for (size_t i = 0; i < keys->count; i++)
        if (span_eq(span_str(keys->at[i]), key))
            return true;
    must(keys->count < KEYS_SEEN_MAX && key.len < sizeof keys->at[0]);
    memcpy(keys->at[keys->count++], key.at, key.len);
    return false;
}

void wire_plant_command(struct wire_world *wire, struct command *command)
{
    if (wire->plant != WIRE_PLANT_FORGET_KEY || command->kind != &publish_kind)
        return;
    struct publish_command *publish = container_of(command, struct publish_command, command);
    if (wire->keys_seen == NULL)
        wire->keys_seen = calloc(1, sizeof *wire->keys_seen);
    must(wire->keys_seen != NULL);
    if (publish->append.key.len > 0 && key_is_seen(wire->keys_seen, publish->append.key))
        publish->append.key = SPAN("");
}

void keys_seen_free(struct keys_seen *keys)
{
    free(keys);
}
