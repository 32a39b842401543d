/* foreign.js - the libraries of others, used as their own pages say. */
import { fetchEventSource } from './node_modules/@microsoft/fetch-event-source/lib/esm/index.js';

clients['event-source-polyfill'] = (name, url) => {
    const source = new EventSourcePolyfill(url);
    source.onmessage = event => take(name, event);
    source.onerror = () => ends[name]++;
};

clients['fetch-event-source'] = (name, url) => fetchEventSource(url, {
    openWhenHidden: true,
    onmessage: ({ data, id }) => take(name, { data, lastEventId: id }),
    onclose() {
        throw new Error('the stream has ended');   // otherwise an end is the end
    },
    onerror: () => { ends[name]++; },              // without a number: after the time that `retry:` said
});
