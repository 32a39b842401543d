/* back_off.js - how long to wait before the next attempt. Pure: the chance is handed in.
 *
 * A policy has the members that the server tells in `connected.reconnect`: base_ms, factor, cap_ms and jitter, the part of
 * the wait that is random (0 to 1). */
export const DEFAULT_POLICY = { base_ms: 250, factor: 2, cap_ms: 15000, jitter: 1 };

/* failures: attempts that failed in a row. leastMs: what the server asked for, 0 if it did not ask. random: 0 to 1. */
export function backOffMs(policy, failures, leastMs, random) {
    const ceiling = Math.min(policy.cap_ms, policy.base_ms * policy.factor ** failures);
    const wait = ceiling * (1 - policy.jitter * random);
    // Those who were all told the same time must not come in one instant.
    return Math.max(wait, leastMs * (1 + policy.jitter * random / 4));
}

/* A policy that the server told, with what it left out, or what makes no sense, taken from another. */
export function policyOf(told, otherwise) {
    const policy = { ...otherwise };
    for (const name of Object.keys(DEFAULT_POLICY))
        if (Number.isFinite(told?.[name]) && told[name] >= 0) policy[name] = told[name];
    policy.factor = Math.max(1, policy.factor);
    policy.jitter = Math.min(1, policy.jitter);
    return policy;
}
