#include "engine_mail.h"

#include <stdlib.h>

#include "base/must.h"

enum engine_word_kind { WORD_DONE, WORD_FRAME, WORD_UP, WORD_DOWN, WORD_SILENT, WORD_SPEAKS };

struct engine_word {
    struct list           link;
    enum engine_word_kind kind;
    struct engine_call   *call;
    uint64_t              life, since;
    size_t                len;
    char                  bytes[];
};

void engine_mail_init(struct engine_mail *mail)
{
    list_init(&mail->words);
}

static struct engine_word *word_put(struct engine_mail *mail, enum engine_word_kind kind, struct span bytes)
{
    struct engine_word *word = calloc(1, sizeof *word + bytes.len);

    must(word != NULL);
    word->kind = kind;
    word->len  = bytes.len;
    if (bytes.len > 0)
        memcpy(word->bytes, bytes.at, bytes.len);
    list_push(&mail->words, &word->link);
    return word;
}

void engine_mail_put_done(struct engine_mail *mail, struct engine_call *call)
{
    word_put(mail, WORD_DONE, SPAN(""))->call = call;
}

void engine_mail_put_frame(struct engine_mail *mail, struct span frame)
{
    word_put(mail, WORD_FRAME, frame);
}

void engine_mail_put_up(struct engine_mail *mail, uint64_t life, uint64_t since)
{
    struct engine_word *word = word_put(mail, WORD_UP, SPAN(""));

    word->life  = life;
    word->since = since;
}

void engine_mail_put_down(struct engine_mail *mail)
{
    word_put(mail, WORD_DOWN, SPAN(""));
}

void engine_mail_put_silence(struct engine_mail *mail, bool is_silent)
{
    word_put(mail, is_silent ? WORD_SILENT : WORD_SPEAKS, SPAN(""));
}

static void word_take(struct engine_word *word, struct cluster *cluster)
{
    switch (word->kind) {
    case WORD_DONE: cluster_take_done(cluster, word->call); break;
    case WORD_FRAME: cluster_take_frame(cluster, (struct span){ word->bytes, word->len }); break;
    case WORD_UP: cluster_take_up(cluster, word->life, word->since); break;
    case WORD_DOWN: cluster_take_down(cluster); break;
    case WORD_SILENT: cluster_take_silence(cluster, true); break;
    case WORD_SPEAKS: cluster_take_silence(cluster, false); break;
    }
    free(word);
}

bool engine_mail_take(struct engine_mail *mail, struct cluster *cluster)
{
    struct list words, *link;
    bool        is_any = !list_is_empty(&mail->words);

    list_init(&words);
    list_move(&words, &mail->words);
    while ((link = list_pop(&words)) != NULL)
        word_take(container_of(link, struct engine_word, link), cluster);
    return is_any;
}
