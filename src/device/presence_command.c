#include "device/presence_command.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/presence_priv.h"

/* --- presence_change -------------------------------------------------------------------------------------------- */

static void presence_change_free(struct command *command)
{
    struct presence_change *change = container_of(command, struct presence_change, command);

    channel_name_unref(change->name);
    free(change);
}

static void presence_change_take(struct command *command, struct writer *writer)
{
    struct presence_change *change = container_of(command, struct presence_change, command);

    (void)writer;
    switch (change->kind) {
    case PRESENCE_COME: presence_come(change->presence, change->name, &change->who); break;
    case PRESENCE_GO: presence_go(change->presence, change->name, &change->who, change->end); break;
    case PRESENCE_WATCH: presence_watch(change->presence, change->name, change->home); break;
    case PRESENCE_WATCH_ON: presence_watch_on(change->presence, change->name, change->home); break;
    case PRESENCE_UNWATCH: presence_unwatch(change->presence, change->name, change->home->loop); break;
    }
    presence_change_free(command);
}

static const struct command_kind presence_change_kind = {
    .name = "presence_change", .free = presence_change_free, .at_writer = presence_change_take,
};

struct presence_change *presence_change_new(struct presence *presence, enum presence_change_kind kind,
                                            struct channel_name *name, const struct presence_who *who)
{
    size_t                  user_len = who == NULL ? 0 : who->user.len, device_len = who == NULL ? 0 : who->device.len;
    struct presence_change *change   = calloc(1, sizeof *change + user_len + device_len);

    must(change != NULL);
    change->command.kind = &presence_change_kind;
    change->presence     = presence;
    change->kind         = kind;
    change->name         = channel_name_ref(name);
    if (who == NULL)
        return change;
    change->who        = *who;
    change->who.user   = span_of(change->words, user_len);
    change->who.device = span_of(change->words + user_len, device_len);
    memcpy(change->words, who->user.at, user_len);
    memcpy(change->words + user_len, who->device.at, device_len);
    return change;
}

/* --- presence_news ---------------------------------------------------------------------------------------------- */

static void presence_news_free(struct command *command)
{
    struct presence_news *news = container_of(command, struct presence_news, command);

    channel_name_unref(news->name);
    free(news->notes);
    free(news);
}

static void presence_news_at_loop(struct command *command, struct shard *shard)
{
    struct presence_news *news = container_of(command, struct presence_news, command);

    (void)shard;
    news->home->told(news->home, news);
    presence_news_free(command);
}

static const struct command_kind presence_news_kind = {
    .name = "presence_news", .free = presence_news_free, .at_loop = presence_news_at_loop,
};

struct presence_news *presence_news_new(struct channel_name *name, uint32_t note_count, size_t word_bytes)
{
    struct presence_news *news = calloc(1, sizeof *news);

    must(news != NULL && note_count > 0);
    news->command.kind = &presence_news_kind;
    news->name         = channel_name_ref(name);
    news->note_count   = note_count;
    news->notes        = calloc(1, note_count * sizeof news->notes[0] + word_bytes);
    must(news->notes != NULL);
    news->words = (char *)&news->notes[note_count];
    return news;
}

/* --- presence_listing ------------------------------------------------------------------------------------------- */

static void presence_listing_free(struct command *command)
{
    struct presence_listing *listing = container_of(command, struct presence_listing, command);

    channel_name_unref(listing->name);
    free(listing->at);
    free(listing);
}

static void presence_listing_home(struct command *command, struct shard *shard)
{
    struct presence_listing *listing = container_of(command, struct presence_listing, command);

    shard_end_question(shard);
    listing->answered(listing);
}

static const struct command_kind presence_listing_kind = {
    .name = "presence_listing", .free = presence_listing_free, .at_loop = presence_listing_home,
    .at_writer = presence_listing_take,
};

struct presence_listing *presence_listing_new(struct presence *presence, struct channel_name *name, uint64_t after,
                                              uint32_t limit)
{
    struct presence_listing *listing = calloc(1, sizeof *listing);

    must(listing != NULL && limit > 0 && limit <= PRESENCE_LIST_MAX);
    listing->command.kind = &presence_listing_kind;
    listing->presence     = presence;
    listing->name         = channel_name_ref(name);
    listing->after        = after;
    listing->limit        = limit;
    return listing;
}

void shard_list_presence(struct shard *shard, struct presence_listing *listing)
{
    shard_ask_question(shard, &listing->command);
}

/* --- presence_question ------------------------------------------------------------------------------------------ */

static void presence_question_free(struct command *command)
{
    struct presence_question *question = container_of(command, struct presence_question, command);

    free(question->at);
    free(question->marks);
    free(question);
}

static void presence_question_home(struct command *command, struct shard *shard)
{
    struct presence_question *question = container_of(command, struct presence_question, command);

    shard_end_question(shard);
    question->answered(question);
}

static const struct command_kind presence_question_kind = {
    .name = "presence_question", .free = presence_question_free, .at_loop = presence_question_home,
    .at_writer = presence_question_take,
};

static int asked_order(const void *a, const void *b)
{
    return span_order(((const struct asked_user *)a)->user, ((const struct asked_user *)b)->user);
}

/* In the order of their names, each once. */
static void asked_users_sort(struct presence_question *question)
{
    size_t kept = 0;

    qsort(question->at, question->count, sizeof question->at[0], asked_order);
    for (size_t i = 0; i < question->count; i++)
        if (kept == 0 || !span_eq(question->at[kept - 1].user, question->at[i].user))
            question->at[kept++] = question->at[i];
    question->count = kept;
}

struct presence_question *presence_question_new(struct presence *presence, struct devices *devices,
                                                const struct span *users, size_t count)
{
    size_t                    bytes    = 0;
    struct presence_question *question = calloc(1, sizeof *question);

    must(question != NULL && count > 0 && count <= PRESENCE_USERS_MAX);
    for (size_t i = 0; i < count; i++)
        bytes += users[i].len;
    question->command.kind = &presence_question_kind;
    question->presence     = presence;
    question->devices      = devices;
    question->count        = count;
    question->at           = calloc(1, count * sizeof question->at[0] + bytes);
    must(question->at != NULL);
    char *words = (char *)&question->at[count];
    for (size_t i = 0; i < count; i++) {
        memcpy(words, users[i].at, users[i].len);
        question->at[i].user = span_of(words, users[i].len);
        words += users[i].len;
    }
    asked_users_sort(question);
    return question;
}

void shard_ask_presence(struct shard *shard, struct presence_question *question)
{
    shard_ask_question(shard, &question->command);
}
