/* engine_mail.h - what an engine has told one node (cluster/engine.h): it comes as mail, and is taken when the writer's next turn
 * begins, as it is in a server. */
#ifndef SIM_ENGINE_MAIL_H
#define SIM_ENGINE_MAIL_H

#include "base/list.h"
#include "cluster/cluster.h"

struct engine_mail {
    struct list words;
};

void engine_mail_init(struct engine_mail *mail);
void engine_mail_put_done(struct engine_mail *mail, struct engine_call *call);
void engine_mail_put_frame(struct engine_mail *mail, struct span frame);
void engine_mail_put_up(struct engine_mail *mail, uint64_t life, uint64_t since);
void engine_mail_put_down(struct engine_mail *mail);
void engine_mail_put_silence(struct engine_mail *mail, bool is_silent);

/* What this brings more of waits for the next turn. False: there was nothing. */
bool engine_mail_take(struct engine_mail *mail, struct cluster *cluster);

#endif
