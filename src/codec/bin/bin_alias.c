#include "codec/bin/bin_alias.h"

#include <stdlib.h>

#include "base/must.h"

struct bin_alias {
    uint64_t epoch, seq, id, time;
    size_t   channel_len, media_len, from_len;
    char     text[];  /* channel, media, from */
};

void bin_aliases_init(struct bin_aliases *aliases)
{
    *aliases = (struct bin_aliases){ 0 };
}

void bin_aliases_fini(struct bin_aliases *aliases)
{
    for (uint32_t i = 0; i < aliases->count; i++)
        free(aliases->at[i]);
    free(aliases->at);
    bin_aliases_init(aliases);
}

static struct span alias_channel(const struct bin_alias *alias)
{
    return span_of(alias->text, alias->channel_len);
}

static struct span alias_media(const struct bin_alias *alias)
{
    return span_of(alias->text + alias->channel_len, alias->media_len);
}

static struct span alias_from(const struct bin_alias *alias)
{
    return span_of(alias->text + alias->channel_len + alias->media_len, alias->from_len);
}

static struct bin_alias *alias_new(const struct bin_frame *frame)
{
    struct span       parts[] = { bin_bytes(frame, BIN_CHANNEL), bin_bytes(frame, BIN_MEDIA), bin_bytes(frame, BIN_FROM) };
    struct bin_alias *alias = malloc(sizeof *alias + parts[0].len + parts[1].len + parts[2].len);
    char             *to;

    must(alias != NULL);
    *alias = (struct bin_alias){ bin_number(frame, BIN_EPOCH), bin_number(frame, BIN_SEQ), bin_number(frame, BIN_ID),
                                 bin_number(frame, BIN_TIME), parts[0].len, parts[1].len, parts[2].len };
    to     = alias->text;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].len > 0)
            memcpy(to, parts[i].at, parts[i].len);
        to += parts[i].len;
    }
    return alias;
}

/* Servers give small numbers first, so the table grows with the channels that a link has got messages of. */
static void aliases_reach(struct bin_aliases *aliases, uint32_t number)
{
    uint32_t count = aliases->count == 0 ? 8 : aliases->count;

    if (number < aliases->count)
        return;
    while (count <= number)
        count *= 2;
    aliases->at = realloc(aliases->at, count * sizeof aliases->at[0]);
    must(aliases->at != NULL);
    for (uint32_t i = aliases->count; i < count; i++)
        aliases->at[i] = NULL;
    aliases->count = count;
}

static bool aliases_announce(struct bin_aliases *aliases, const struct bin_frame *frame)
{
    uint64_t number = bin_number(frame, BIN_ALIAS_NO);

    if (number >= BIN_ALIAS_COUNT || bin_bytes(frame, BIN_CHANNEL).len == 0)
        return false;
    aliases_reach(aliases, (uint32_t)number);
    free(aliases->at[number]);
    aliases->at[number] = alias_new(frame);
    return true;
}

static uint64_t apart(const struct bin_frame *frame, uint64_t base, enum bin_field field)
{
    return frame->is_before ? base - frame->at[field].number : base + frame->at[field].number;
}

static void complete_message(const struct bin_alias *alias, struct bin_frame *frame)
{
    bin_set_number(frame, BIN_EPOCH, alias->epoch);
    bin_set_number(frame, BIN_SEQ, apart(frame, alias->seq, BIN_SEQ));
    bin_set_number(frame, BIN_ID, apart(frame, alias->id, BIN_ID));
    bin_set_number(frame, BIN_TIME, apart(frame, alias->time, BIN_TIME));
    if (!bin_has(frame, BIN_MEDIA))
        bin_set_bytes(frame, BIN_MEDIA, alias_media(alias));
    if (!bin_has(frame, BIN_FROM))
        bin_set_bytes(frame, BIN_FROM, alias_from(alias));
    frame->type      = BIN_FULL;
    frame->is_before = false;
}

bool bin_aliases_take(struct bin_aliases *aliases, struct bin_frame *frame)
{
    if (frame->type == BIN_ALIAS)
        return aliases_announce(aliases, frame);
    if (!bin_has(frame, BIN_ALIAS_NO))
        return true;
    uint64_t number = bin_number(frame, BIN_ALIAS_NO);
    if (number >= aliases->count || aliases->at[number] == NULL)
        return false;
    const struct bin_alias *alias = aliases->at[number];
    bin_set_bytes(frame, BIN_CHANNEL, alias_channel(alias));
    if (frame->type == BIN_MESSAGE)
        complete_message(alias, frame);
    frame->has &= ~(UINT64_C(1) << BIN_ALIAS_NO);
    return true;
}
