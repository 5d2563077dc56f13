
'use strict';
(() => {
  const find = id => document.getElementById(id);
  const start = Number(document.body.dataset.threshold);
  const cards = [...document.querySelectorAll('article')];
  const slider = find('threshold');
  const opacity = find('opacity');
  const scratch = document.createElement('canvas');
  const brush = scratch.getContext('2d', {willReadFrequently: true});
  const visible = new Set();
  let threshold = start;
  let waiting = false;

  // Marks every pixel that has a marked one within a distance in rows and columns.
  function dilate(mask, width, height, distance) {
    const rows = new Uint8Array(mask.length);
    const all = new Uint8Array(mask.length);
    for (let place = 0; place < mask.length; place++) {
      if (!mask[place]) continue;
      const column = place % width;
      const first = place - Math.min(distance, column);
      rows.fill(1, first, place + Math.min(distance, width - 1 - column) + 1);
    }
    for (let place = 0; place < mask.length; place++) {
      if (!rows[place]) continue;
      const row = Math.floor(place / width);
      const last = Math.min(row + distance, height - 1);
      for (let near = Math.max(row - distance, 0); near <= last; near++) {
        all[near * width + place % width] = 1;
      }
    }
    return all;
  }

  function paint(canvas, width, height, color) {
    canvas.width = width;
    canvas.height = height;
    const brush = canvas.getContext('2d');
    const pixels = brush.createImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    for (let place = 0; place < words.length; place++) words[place] = color(place);
    brush.putImageData(pixels, 0, 0);
    canvas.hidden = false;
  }

  // The mask is drawn from the alpha of the heat map, which is the probability in 255ths.
  function drawMask(card, heat) {
    const width = scratch.width = heat.naturalWidth;
    const height = scratch.height = heat.naturalHeight;
    brush.drawImage(heat, 0, 0);
    const {data} = brush.getImageData(0, 0, width, height);
    const mask = new Uint8Array(width * height);
    for (let place = 0; place < mask.length; place++) {
      mask[place] = data[4 * place + 3] > 255 * threshold;
    }
    const distance = Math.max(1, Math.round(Math.max(width, height) / 256));
    const inner = dilate(mask, width, height, distance);
    const outer = dilate(inner, width, height, distance);
    const [white, black] = [0xffffffff, new Uint32Array(new Uint8Array([0, 0, 0, 255]).buffer)[0]];
    paint(card.querySelector('.mask + canvas'), width, height,
      place => mask[place] ? white : black);
    paint(card.querySelector('.outline + canvas'), width, height,
      place => !outer[place] || mask[place] ? 0 : inner[place] ? white : black);
    card.querySelector('.outline').hidden = true;
  }

  function draw(card) {
    const heat = card.querySelector('.heat');
    if (!heat.naturalWidth) {
      heat.addEventListener('load', update, {once: true});
      return;
    }
    drawMask(card, heat);
    const share = Number(card.dataset.shares.split(',')[Math.round(100 * threshold)]) / 10;
    card.querySelector('.share').textContent =
      `${share.toFixed(1)} % marked at threshold ${threshold}`;
  }

  // Shows the stored pictures again, which takes no memory.
  function release(card) {
    for (const canvas of card.querySelectorAll('canvas')) {
      canvas.width = canvas.height = 0;
      canvas.hidden = true;
    }
    card.querySelector('.outline').hidden = false;
    const share = card.querySelector('.share');
    share.textContent = share.dataset.start;
  }

  function update() {
    waiting = false;
    for (const card of visible) threshold === start ? release(card) : draw(card);
  }

  function set(value) {
    threshold = value;
    find('threshold-value').textContent = value;
    // One drawing per frame, however many events a drag sends.
    if (!waiting) requestAnimationFrame(update);
    waiting = true;
  }

  function show(value) {
    find('opacity-value').textContent = value;
    document.documentElement.style.setProperty('--opacity', value);
  }

  const observer = new IntersectionObserver(entries => {
    for (const {target, isIntersecting} of entries) {
      if (!isIntersecting) {
        visible.delete(target);
        release(target);
      } else {
        visible.add(target);
        if (threshold !== start) draw(target);
      }
    }
  }, {rootMargin: '300px'});
  for (const card of cards) observer.observe(card);

  slider.addEventListener('input', () => set(Number(slider.value)));
  opacity.addEventListener('input', () => show(Number(opacity.value)));
  find('reset').addEventListener('click', () => {
    slider.value = start;
    opacity.value = 0.6;
    set(start);
    show(0.6);
  });
  // A browser may restore sliders, but not what they did, when a page is loaded again.
  slider.value = start;
  opacity.value = 0.6;

  // All masks are printed at the same threshold.
  addEventListener('beforeprint', () => {
    if (threshold !== start) cards.forEach(draw);
  });
  addEventListener('afterprint', () => {
    for (const card of cards) if (!visible.has(card)) release(card);
  });
  find('controls').hidden = false;
})();
