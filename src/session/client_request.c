/* client_request.c - requests of a client to back ends: from its frames to the uplink and back. The response is no answer of
 * this file: it comes by the log that the client's device follows. */
#include "session/client.h"

void client_request(struct client *client, const struct client_command *command)
{
    if (command->request_id.len == 0 || command->request_id.len > REQUEST_ID_BYTES_MAX)
        client_say_request_error(client, 400, "a request has an id of 1 to 128 bytes", SPAN(""), command->ref);
    else
        client_say_request_error(client, 404, "no [uplink] of the configuration takes this method and path",
                                 command->request_id, command->ref);
}

void client_cancel(struct client *client, const struct client_command *command)
{
    if (command->request_id.len == 0 || command->request_id.len > REQUEST_ID_BYTES_MAX)
        client_say_request_error(client, 400, "cancel takes the id of a request, of 1 to 128 bytes", SPAN(""), command->ref);
}
