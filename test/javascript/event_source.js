/* event_source.js URL COUNT - what the package `eventsource` hears at that URL, as one line of JSON: [[data, lastEventId], …]. */
const { EventSource } = require('eventsource');

const [url, count] = process.argv.slice(2);
const heard = [], source = new EventSource(url);

source.onmessage = ({ data, lastEventId }) => {
    heard.push([data, lastEventId]);
    if (heard.length < Number(count)) return;
    source.close();
    console.log(JSON.stringify(heard));
};
source.onerror = error => {
    console.error(error);
    process.exit(1);
};
