
'use strict';
(() => {
  const EVERY = 10000, PATIENCE = 9000;
  const OFTEN = ', refreshed every 10 s';
  const main = document.getElementById('main');
  const silence = document.getElementById('silence');
  const every = document.getElementById('every');
  let answered = document.getElementById('updated').dateTime;
  let timer = 0, turn = 0;

  // Remembers what the reader has opened, scrolled, typed and focused; returns what brings it back.
  function remember() {
    const open = new Map();
    for (const it of main.querySelectorAll('details[id]')) open.set(it.id, it.open);
    const scrolled = new Map();
    for (const it of main.querySelectorAll('.scrolls[id]')) scrolled.set(it.id, it.scrollLeft);
    const focused = document.activeElement;
    const field = document.getElementById('filter');
    const typed = field && { text: field.value, from: field.selectionStart, to: field.selectionEnd };
    const place = path(focused);
    const top = window.scrollY;
    return () => {
      for (const [id, was] of open) {
        const it = document.getElementById(id);
        if (it) it.open = was;
      }
      for (const [id, left] of scrolled) {
        const it = document.getElementById(id);
        if (it) it.scrollLeft = left;
      }
      const again = document.getElementById('filter');
      if (again && typed) again.value = typed.text;
      const target = place && main.querySelector(place);
      if (target) target.focus({ preventScroll: true });
      if (again && typed && target === again) again.setSelectionRange(typed.from, typed.to);
      window.scrollTo(window.scrollX, top);
    };
  }

  // Returns a selector of the focused element of the main part, by the nearest id above it.
  function path(element) {
    if (!element || element === main || !main.contains(element)) return null;
    const steps = [];
    for (let it = element; it !== main; it = it.parentElement) {
      if (it.id) { steps.unshift('#' + CSS.escape(it.id)); break; }
      steps.unshift(it.localName + ':nth-child(' + ([...it.parentElement.children].indexOf(it) + 1) + ')');
    }
    return steps.join(' > ');
  }

  function show(page) {
    const back = remember();
    main.replaceChildren(...page.getElementById('main').childNodes);
    back();
    for (const id of ['updated', 'said']) {
      const now = document.getElementById(id), next = page.getElementById(id);
      if (now.textContent !== next.textContent) now.textContent = next.textContent;
    }
    answered = page.getElementById('updated').dateTime;
    document.title = page.title;
    document.getElementById('tab').href = page.getElementById('tab').href;
    silence.hidden = true;
    document.body.classList.remove('stale');
  }

  function fail(why) {
    const text = 'No answer since ' + answered.slice(11, 19) + ' UTC: ' + why + '. What is shown is as of then.';
    if (silence.textContent !== text) silence.textContent = text;
    silence.hidden = false;
    document.body.classList.add('stale');
  }

  async function refresh() {
    clearTimeout(timer);
    const mine = ++turn;
    // Text that is being selected stays.
    const isSelecting = !getSelection().isCollapsed;
    every.textContent = isSelecting ? ', not refreshed while text is selected' : OFTEN;
    if (!document.hidden && !isSelecting) {
      try {
        const asked = location.pathname + location.search;
        const answer = await fetch(asked, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
        const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
        if (mine !== turn) return;
        if (answer.ok && page.getElementById('main')) show(page);
        else fail((page.getElementById('why') || { textContent: 'status ' + answer.status }).textContent.trim());
      } catch (error) {
        if (mine !== turn) return;
        fail('this address cannot be reached');
      }
    }
    timer = setTimeout(refresh, EVERY);
  }

  every.textContent = OFTEN;
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
  timer = setTimeout(refresh, EVERY);
})();
