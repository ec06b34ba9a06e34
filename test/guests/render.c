/* Renders off screen by OpenGL ES on a render node: `render NODE FRAMES`. Says who renders, and for each frame a sum of all its pixels
 * and the colour of some: the same wherever it runs over the same driver. */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES2/gl2.h>
#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 256
#define HEIGHT 192
#define TEXTURE_SIDE 64
/* Frames by which the triangle has turned around once. */
#define TURN_FRAMES 24

static uint8_t pixels[WIDTH * HEIGHT * 4];

static _Noreturn void fail(const char *what) {
  printf("%s failed: %s, EGL %#x\n", what, strerror(errno), (unsigned)eglGetError());
  exit(1);
}

static void make_context(struct gbm_device *device) {
  static const EGLint wanted[] = {EGL_RENDERABLE_TYPE, EGL_OPENGL_ES2_BIT, EGL_NONE};
  static const EGLint version[] = {EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE};
  EGLDisplay display = eglGetPlatformDisplay(EGL_PLATFORM_GBM_KHR, device, NULL);
  if (display == EGL_NO_DISPLAY || !eglInitialize(display, NULL, NULL)) fail("eglInitialize");
  EGLConfig config;
  EGLint count = 0;
  if (!eglBindAPI(EGL_OPENGL_ES_API) || !eglChooseConfig(display, wanted, &config, 1, &count) || count != 1) fail("eglChooseConfig");
  EGLContext context = eglCreateContext(display, config, EGL_NO_CONTEXT, version);
  if (context == EGL_NO_CONTEXT || !eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context)) fail("eglMakeCurrent");
}

static GLuint shader(GLenum kind, const char *source) {
  GLuint made = glCreateShader(kind);
  GLint good = 0;
  glShaderSource(made, 1, &source, NULL);
  glCompileShader(made);
  glGetShaderiv(made, GL_COMPILE_STATUS, &good);
  if (!good) fail("glCompileShader");
  return made;
}

static GLuint program(const char *vertex, const char *fragment) {
  GLuint made = glCreateProgram();
  GLint good = 0;
  glAttachShader(made, shader(GL_VERTEX_SHADER, vertex));
  glAttachShader(made, shader(GL_FRAGMENT_SHADER, fragment));
  glBindAttribLocation(made, 0, "place");
  glLinkProgram(made);
  glGetProgramiv(made, GL_LINK_STATUS, &good);
  if (!good) fail("glLinkProgram");
  return made;
}

static void make_frame_buffer(void) {
  GLuint colour, frame;
  glGenTextures(1, &colour);
  glBindTexture(GL_TEXTURE_2D, colour);
  glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, WIDTH, HEIGHT, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
  glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
  glGenFramebuffers(1, &frame);
  glBindFramebuffer(GL_FRAMEBUFFER, frame);
  glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, colour, 0);
  if (glCheckFramebufferStatus(GL_FRAMEBUFFER) != GL_FRAMEBUFFER_COMPLETE) fail("glCheckFramebufferStatus");
  glViewport(0, 0, WIDTH, HEIGHT);
}

/* A picture of the program's own, which has to reach the card: no two of its texels are alike. */
static void make_texture(void) {
  static uint8_t texels[TEXTURE_SIDE * TEXTURE_SIDE * 4];
  GLuint texture;
  for (unsigned i = 0; i < TEXTURE_SIDE * TEXTURE_SIDE; i++) {
    const uint8_t texel[] = {(uint8_t)(i % TEXTURE_SIDE * 4), (uint8_t)(i / TEXTURE_SIDE * 4), 128, 255};
    memcpy(texels + 4 * i, texel, sizeof texel);
  }
  glGenTextures(1, &texture);
  glBindTexture(GL_TEXTURE_2D, texture);
  glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, TEXTURE_SIDE, TEXTURE_SIDE, 0, GL_RGBA, GL_UNSIGNED_BYTE, texels);
  glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
  glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
}

/* The texture over everything, and a triangle of the three basic colours that turns. */
static void draw(GLuint picture, GLuint triangle, int frame) {
  static const float corners[] = {-1, -1, 1, -1, -1, 1, 1, 1}, places[] = {0, 0.9f, -0.8f, -0.6f, 0.8f, -0.6f};
  glUseProgram(picture);
  glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, corners);
  glEnableVertexAttribArray(0);
  glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
  glUseProgram(triangle);
  float angle = 2 * (float)M_PI * (float)frame / TURN_FRAMES;
  glUniform2f(glGetUniformLocation(triangle, "turn"), cosf(angle), sinf(angle));
  glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, places);
  glDrawArrays(GL_TRIANGLES, 0, 3);
}

static void say_pixel(int x, int y) {
  const uint8_t *at = pixels + 4 * (y * WIDTH + x);
  printf(" %d,%d:%02x%02x%02x%02x", x, y, at[0], at[1], at[2], at[3]);
}

/* FNV-1a, 64 bits. */
static void say_frame(int frame) {
  uint64_t sum = 0xcbf29ce484222325;
  for (size_t i = 0; i < sizeof pixels; i++) sum = (sum ^ pixels[i]) * 0x100000001b3;
  printf("frame %d %016llx", frame, (unsigned long long)sum);
  say_pixel(0, 0);
  say_pixel(WIDTH - 1, HEIGHT - 1);
  say_pixel(WIDTH / 2, HEIGHT / 2);
  printf("\n");
}

int main(int count, char **arguments) {
  int node = count == 3 ? open(arguments[1], O_RDWR | O_CLOEXEC) : -1;
  if (node < 0) fail("open");
  struct gbm_device *device = gbm_create_device(node);
  if (!device) fail("gbm_create_device");
  make_context(device);
  printf("renderer %s\n", (const char *)glGetString(GL_RENDERER));
  printf("version %s\n", (const char *)glGetString(GL_VERSION));
  make_frame_buffer();
  make_texture();
  GLuint picture = program("attribute vec2 place; varying vec2 at;"
                           "void main() { gl_Position = vec4(place, 0, 1); at = place * 0.5 + 0.5; }",
                           "precision mediump float; varying vec2 at; uniform sampler2D texture;"
                           "void main() { gl_FragColor = texture2D(texture, at); }");
  GLuint triangle = program("attribute vec2 place; uniform vec2 turn; varying vec2 at; void main() {"
                            " gl_Position = vec4(place.x * turn.x - place.y * turn.y, place.x * turn.y + place.y * turn.x, 0, 1);"
                            " at = place; }",
                            "precision mediump float; varying vec2 at;"
                            "void main() { gl_FragColor = vec4(at * 0.5 + 0.5, 1.0 - at.y, 1); }");
  for (int frame = 0; frame < atoi(arguments[2]); frame++) {
    draw(picture, triangle, frame);
    glReadPixels(0, 0, WIDTH, HEIGHT, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
    if (glGetError() != GL_NO_ERROR) fail("drawing");
    say_frame(frame);
  }
  return 0;
}
