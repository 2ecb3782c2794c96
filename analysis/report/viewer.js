// Shows coloured meshes: drag sideways or use the arrow keys to turn, pinch or use + and - to come nearer.
(function () {
  "use strict";
  const box = document.getElementById("viewer");
  const canvas = box.querySelector("canvas"), status = box.querySelector("[role=status]");
  const meshes = JSON.parse(document.getElementById("mesh-data").textContent);
  const gl = canvas.getContext("webgl", { antialias: true, alpha: true });
  if (!gl) {
    status.textContent = "This browser shows no WebGL; the files below open in any viewer of glTF.";
    canvas.hidden = true;
    return;
  }
  const VERTEX = `attribute vec3 place, normal, colour; uniform mat4 view; uniform mat3 turn; uniform float clay;
    varying vec3 shade;
    void main() {
      gl_Position = view * vec4(place, 1.0);
      vec3 n = turn * normal, base = mix(colour, vec3(0.82), clay);
      float light = 0.55 + 0.45 * dot(n, normalize(vec3(0.35, 0.5, 0.8)));
      shade = base * mix(mix(0.75, 1.08, light), light * 1.05, clay);
    }`;
  const FRAGMENT = "precision mediump float; varying vec3 shade; void main() { gl_FragColor = vec4(shade, 1.0); }";
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const view = uniform("view"), turn = uniform("turn"), clayAt = uniform("clay");

  // mesh: bytes of positions (3 x 16 bits a vertex), corners of faces (3 x 16 bits) and colours (3 x 8 bits a vertex)
  function unpack(mesh) {
    const bytes = Uint8Array.from(atob(mesh.data), (letter) => letter.charCodeAt(0));
    const count = mesh.vertices, corners = 6 * count, colours = corners + 6 * mesh.faces;
    const steps = new Uint16Array(bytes.buffer, 0, 3 * count);
    const faces = new Uint16Array(bytes.buffer, corners, 3 * mesh.faces);
    const places = Float32Array.from(steps, (value, at) => mesh.low[at % 3] + value * mesh.step);
    const normals = new Float32Array(3 * count);
    for (let at = 0; at < faces.length; at += 3) {
      const [a, b, c] = [3 * faces[at], 3 * faces[at + 1], 3 * faces[at + 2]];
      const u = [0, 1, 2].map((k) => places[b + k] - places[a + k]);
      const v = [0, 1, 2].map((k) => places[c + k] - places[a + k]);
      const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += cross[k];
    }
    for (let at = 0; at < normals.length; at += 3) {
      const length = Math.hypot(normals[at], normals[at + 1], normals[at + 2]) || 1;
      for (let k = 0; k < 3; k++) normals[at + k] /= length;
    }
    return { places, normals, colours: bytes.subarray(colours, colours + 3 * count), faces };
  }

  function upload(name, values, type, normalized) {
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, type, normalized, 0, 0);
  }

  let count = 0, yaw = 0.5, pitch = 0.05, near = 1, clay = 0;
  let turning = !matchMedia("(prefers-reduced-motion: reduce)").matches, asked = false;

  function show(number) {
    const mesh = unpack(meshes[number]);
    upload("place", mesh.places, gl.FLOAT, false);
    upload("normal", mesh.normals, gl.FLOAT, false);
    upload("colour", mesh.colours, gl.UNSIGNED_BYTE, true);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.STATIC_DRAW);
    count = mesh.faces.length;
    status.textContent = meshes[number].name;
    ask();
  }

  function draw(time) {
    asked = false;
    if (turning) yaw = 0.5 + 0.6 * Math.sin(time / 1600);
    const side = Math.min(2, devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * side), height = Math.round(canvas.clientHeight * side);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const [a, b, c, d] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const rotation = [a, b * d, -b * c, 0, c, d, b, -a * d, a * c]; // columns: x, y, z after both turns
    const f = 3.2 * near, distance = 3.4, x = f * Math.min(1, height / width), y = x * width / height;
    const [n, m] = [1, 8], depth = (m + n) / (n - m), shift = 2 * m * n / (n - m);
    const matrix = new Float32Array(16);
    for (let k = 0; k < 3; k++) {
      const [p, q, r] = rotation.slice(3 * k, 3 * k + 3);
      matrix.set([x * p, y * q, depth * r, -r], 4 * k);
    }
    matrix.set([0, 0, -depth * distance + shift, distance], 12);
    gl.uniformMatrix4fv(view, false, matrix);
    gl.uniformMatrix3fv(turn, false, rotation);
    gl.uniform1f(clayAt, clay);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 0);
    canvas.dataset.drawn = count;
    if (turning) ask();
  }

  function ask() {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  }

  function move(right, up, closer) {
    turning = false;
    yaw += right;
    pitch = Math.max(-1.2, Math.min(1.2, pitch + up));
    near = Math.max(0.6, Math.min(4, near * closer));
    ask();
  }

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY], other = [...fingers].find(([id]) => id !== event.pointerId);
    const apart = (point) => Math.hypot(point[0] - other[1][0], point[1] - other[1][1]);
    if (other) move(0, 0, apart(now) / Math.max(1, apart(before)));
    else move((now[0] - before[0]) / 120, (now[1] - before[1]) / 120, 1);
    fingers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    move(0, 0, Math.exp(-event.deltaY / 200));
  }, { passive: false });
  const KEYS = { ArrowLeft: [-0.15, 0, 1], ArrowRight: [0.15, 0, 1], ArrowUp: [0, -0.1, 1], ArrowDown: [0, 0.1, 1],
    "+": [0, 0, 1.15], "-": [0, 0, 1 / 1.15] };
  canvas.addEventListener("keydown", (event) => {
    if (!KEYS[event.key]) return;
    event.preventDefault();
    move(...KEYS[event.key]);
  });
  box.querySelectorAll("[data-mesh]").forEach((button) => button.addEventListener("click", () => {
    box.querySelectorAll("[data-mesh]").forEach((one) => one.setAttribute("aria-pressed", one === button));
    show(Number(button.dataset.mesh));
  }));
  box.querySelector("[data-clay]").addEventListener("click", (event) => {
    clay = 1 - clay;
    event.currentTarget.setAttribute("aria-pressed", clay === 1);
    ask();
  });
  addEventListener("resize", ask);
  show(0);
})();
