// Points in WebGL: one draw call for all of them. Positions run from -1 to 1; a camera says which part is seen.

const VERTEX = `
attribute vec2 position; attribute vec3 colour; attribute float size;
uniform vec2 centre; uniform vec2 scale; uniform float ratio;
varying vec3 tint;
void main() {
  gl_Position = vec4((position - centre) * scale, 0.0, 1.0);
  gl_PointSize = size * ratio;
  tint = colour;
}`;
const FRAGMENT = `
precision mediump float;
varying vec3 tint;
void main() {
  float away = length(gl_PointCoord - 0.5);
  gl_FragColor = vec4(tint, 0.85 * (1.0 - smoothstep(0.40, 0.5, away)));
}`;
const [NEAREST, FURTHEST] = [40, 0.5];

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

export class Scatter {
  /** Throws where there is no WebGL. */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl", { antialias: false, alpha: true, premultipliedAlpha: false });
    if (!this.gl) throw new Error("no WebGL");
    this.program = program(this.gl);
    this.buffers = { position: [2, null], colour: [3, null], size: [1, null] };
    this.camera = { x: 0, y: 0, zoom: 1 };
    this.points = new Float32Array();
  }

  /** name: position [n, 2] | colour [n, 3] from 0 to 1 | size [n] in CSS pixels */
  set(name, values) {
    const { gl } = this;
    if (name === "position") this.points = values;
    this.buffers[name][1] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name][1]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    this.draw();
  }

  /** Scale of each axis: both are alike in pixels. */
  get scale() {
    const { width, height } = this.canvas;
    const side = Math.min(width, height);
    return [(this.camera.zoom * side) / width, (this.camera.zoom * side) / height];
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.drawNow();
    });
  }

  drawNow() {
    const { gl, canvas } = this;
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (Object.values(this.buffers).some(([, buffer]) => !buffer)) return;
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.useProgram(this.program);
    for (const [name, [size, buffer]] of Object.entries(this.buffers)) {
      const place = gl.getAttribLocation(this.program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
    }
    const at = (name) => gl.getUniformLocation(this.program, name);
    gl.uniform2f(at("centre"), this.camera.x, this.camera.y);
    gl.uniform2f(at("scale"), ...this.scale);
    gl.uniform1f(at("ratio"), ratio * Math.min(2, Math.max(1, Math.sqrt(this.camera.zoom) / 1.5)));
    gl.drawArrays(gl.POINTS, 0, this.points.length / 2);
  }

  /** A place on the canvas in CSS pixels -> one on the map, and back. */
  toMap(x, y) {
    const [across, up] = this.scale;
    return [((2 * x) / this.canvas.clientWidth - 1) / across + this.camera.x,
      (1 - (2 * y) / this.canvas.clientHeight) / up + this.camera.y];
  }

  toCanvas(x, y) {
    const [across, up] = this.scale;
    return [(((x - this.camera.x) * across + 1) / 2) * this.canvas.clientWidth,
      ((1 - (y - this.camera.y) * up) / 2) * this.canvas.clientHeight];
  }

  /** The points nearest to a place on the map, the nearest first: [[index, distance in CSS pixels]…] */
  near([x, y], count) {
    const unit = (this.scale[0] * this.canvas.clientWidth) / 2;
    const found = [];
    for (let i = 0; i < this.points.length / 2; i++) {
      found.push([i, Math.hypot(this.points[2 * i] - x, this.points[2 * i + 1] - y) * unit]);
    }
    return found.sort((a, b) => a[1] - b[1]).slice(0, count);
  }

  move(right, up) {
    const bound = (value) => Math.max(-1.1, Math.min(1.1, value));
    this.camera.x = bound(this.camera.x + right);
    this.camera.y = bound(this.camera.y + up);
    this.draw();
  }

  /** Have a place of the map in the middle. */
  look(x, y) {
    this.move(x - this.camera.x, y - this.camera.y);
  }

  /** The place on the map that is at (x, y) of the canvas stays there. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.toMap(x, y);
    this.camera.zoom = Math.max(FURTHEST, Math.min(NEAREST, this.camera.zoom * factor));
    const after = this.toMap(x, y);
    this.move(before[0] - after[0], before[1] - after[1]);
  }

  /** As near as all points can be seen. */
  whole() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const most = (axis) => this.points.reduce((so, value, i) => (i % 2 === axis ? Math.max(so, Math.abs(value)) : so), 1e-6);
    const zoom = (0.94 * Math.min(width / most(0), height / most(1))) / Math.min(width, height);
    Object.assign(this.camera, { x: 0, y: 0, zoom });
    this.draw();
  }

  free() {
    if (this.waiting) cancelAnimationFrame(this.waiting);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
