#include "base/mail.h"

#include "base/must.h"

void bundle_add(struct bundle *bundle, struct mail *mail)
{
    must((bundle->newest == NULL) == (bundle->oldest == NULL));
    mail->next     = bundle->newest;
    bundle->newest = mail;
    if (bundle->oldest == NULL)
        bundle->oldest = mail;
}

struct mail *mail_oldest_first(struct mail *newest)
{
    struct mail *oldest = NULL;

    while (newest != NULL) {
        struct mail *next = newest->next;
        newest->next      = oldest;
        oldest            = newest;
        newest            = next;
    }
    return oldest;
}

struct mail *bundle_take(struct bundle *bundle)
{
    struct mail *oldest = mail_oldest_first(bundle->newest);

    *bundle = (struct bundle){ NULL, NULL };
    return oldest;
}
