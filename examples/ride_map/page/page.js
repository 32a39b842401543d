/* page.js - the map: positions come from live:positions, what becomes of orders from topic:orders. */
import { connect } from '/longwire/index.js';

const SVG = 'http://www.w3.org/2000/svg';
const STREET = 12.5;
const at = id => document.getElementById(id);

function draw(parent, name, attributes) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    parent.append(node);
    return node;
}

for (let i = STREET; i < 100; i += STREET) {
    draw(at('streets'), 'line', { x1: i, y1: 0, x2: i, y2: 100 });
    draw(at('streets'), 'line', { x1: 0, y1: i, x2: 100, y2: i });
}

/* --- cars ------------------------------------------------------------------------------------------------------- */

const cars = new Map();

function carOf(driver) {
    if (!cars.has(driver)) {
        const car = draw(at('cars'), 'g', { class: 'car', 'data-driver': driver });
        draw(car, 'circle', { r: 1.6 });
        draw(car, 'text', { y: -2.6 }).textContent = driver;
        cars.set(driver, car);
    }
    return cars.get(driver);
}

function move({ data: { driver, x, y, isBusy } }) {
    const car = carOf(driver);
    car.style.transform = `translate(${x}px, ${y}px)`;
    car.classList.toggle('busy', isBusy);
}

/* --- orders: the list is what the log says of each, so a reload shows the same ------------------------------------ */

const orders = new Map();

function tell({ seq, data: { order = seq, driver, state, x, y } }) {
    if (!orders.has(order)) orders.set(order, { row: rowOf(order) });
    const known = Object.assign(orders.get(order), driver && { driver });
    if (x !== undefined) known.mark ??= draw(at('orders'), 'circle', { class: 'order', cx: x, cy: y, r: 2.4 });
    if (state === 'there' || state === 'no driver is free') known.mark?.remove();
    known.row.querySelector('.state').textContent = known.driver ? `${known.driver}: ${state}` : state;
    known.row.dataset.state = state;
}

function rowOf(order) {
    const row = document.createElement('li');
    const state = document.createElement('span');
    state.className = 'state';
    row.append(`Ride ${order}`, state);
    row.dataset.order = order;
    at('list').prepend(row);
    at('empty').hidden = true;
    return row;
}

function order(place) {
    return fetch('order', { method: 'POST', body: JSON.stringify(place) });
}

at('anywhere').onclick = () => order({ x: 50, y: 50 });
at('map').onclick = event => {
    const box = at('map').getBoundingClientRect();
    order({ x: (event.clientX - box.left) / box.width * 100, y: (event.clientY - box.top) / box.height * 100 });
};

const { server } = await (await fetch('server')).json();
const client = connect(server);
client.on('state', ({ name, why }) => {
    at('link').dataset.state = name;
    at('link').textContent = why ? `${name}: ${why}` : name;
});
client.subscribe('live:positions', move, { last: 20 });
client.subscribe('topic:orders', tell, { last: 100 });
