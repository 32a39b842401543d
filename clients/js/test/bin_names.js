/* bin_names.js - for tests: frames with the names of docs/protocol.md, 9.1, as test/vectors has them, to those that the client
 * has for them, which are the names of JSON. */

export const hex = text => Uint8Array.from(text.replaceAll(' ', '').match(/../g) ?? [], byte => parseInt(byte, 16));

function jsonOfPayload({ payload, payload_hex: octets, media }) {
    if (octets !== undefined) return { data: hex(octets) };
    return { data: /json/.test(media ?? '') ? JSON.parse(payload) : payload ?? '' };
}

function jsonOfControl({ payload, media, ...same }) {
    return { ...same, ...JSON.parse(payload), type: /longwire\.([a-z]+)/.exec(media)[1] };
}

/* What the client says. */
export const CLIENT = {
    connect: ({ versions: _versions, standing, mode, resume, ...same }) => ({
        ...same, ...(standing && { session: true }), ...(mode !== undefined && { mode: ['push', 'notify'][mode] }),
        ...(resume && { resume: Object.fromEntries(resume.map(({ channel, ...place }) => [channel, place])) }),
    }),
    subscribe: ({ mode, priority, ...same }) => ({
        ...same, ...(mode !== undefined && { mode: ['push', 'notify'][mode] }), ...(priority !== undefined && { priority: ['now', 'beat'][priority] }),
    }),
    publish: ({ payload, payload_hex: octets, priority, ...same }) => ({
        ...same, ...jsonOfPayload({ payload, payload_hex: octets, media: same.media }), ...(priority !== undefined && { priority: ['now', 'beat'][priority] }),
    }),
    request: ({ request: id, headers, payload, payload_hex: octets, ...same }) => ({
        ...same, id, ...(headers && { headers: Object.fromEntries(headers) }),
        ...(octets !== undefined ? { bytes: hex(octets) } : payload !== undefined && { body: payload }),
    }),
    cancel: ({ request: id, ...same }) => ({ ...same, id }),
};

/* Not said by this client: other versions than 1 and the bits of additions, refs above 2^53, octets without a media type. */
export const isSaid = frame => `${frame.versions ?? [1, 1]}` === '1,1' && !('features' in frame) && !(frame.ref > 2 ** 53) && !('payload_hex' in frame)
    && !(frame.type === 'request' && frame.payload !== undefined && frame.headers === undefined);

/* What it hears. */
export const SERVER = {
    connected: ({ base_ms, factor, cap_ms, jitter, resumed = false, ...same }) => ({
        ...same, resumed, ...(base_ms !== undefined && { reconnect: { base_ms, factor: factor / 100, cap_ms, jitter: jitter / 1000 } }),
    }),
    gap: ({ gap_from: from, gap_to: to, why, ...same }) => ({ ...same, from, to, why: ['expired', 'trimmed', 'epoch', 'ahead', 'corrupt', 'collapsed'][why] }),
    accepted: ({ request: id, ...same }) => ({ ...same, id }),
    error: ({ request: id, ...same }) => ({ ...same, ...(id !== undefined && { id }) }),
    reconnect: ({ after_ms: after, ...same }) => ({ ...same, after }),
    pong: ({ resume, ...same }) => ({ ...same, ...(resume && { places: Object.fromEntries(resume.map(({ channel, ...place }) => [channel, place])) }) }),
    notify: ({ alias: _alias, ...same }) => ({ ...same, channel: same.channel ?? 'topic:a' }),
    full: ({ payload, payload_hex: octets, from = null, target, recalled, ...same }) => target !== undefined ? { ...same, type: 'recall', from, target }
        : recalled ? { ...same, type: 'message', from, recalled }
        : /longwire/.test(same.media ?? '') ? jsonOfControl({ ...same, from, payload })
        : { ...same, type: 'message', from, ...jsonOfPayload({ payload, payload_hex: octets, media: same.media }) },
};
