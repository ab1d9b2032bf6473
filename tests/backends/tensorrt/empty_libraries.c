/* Libraries in TensorRT's place: what its Python bindings look for when they are imported, and nothing behind it.
   Compiled three times, with INFER, PARSER or PLUGIN defined; every factory gives a null pointer. */
#include <stddef.h>

#ifdef INFER
void *createInferBuilder_INTERNAL(void *logger, int version) { (void)logger; (void)version; return NULL; }
void *createInferRefitter_INTERNAL(void *engine, void *logger, int version) {
    (void)engine; (void)logger; (void)version; return NULL;
}
void *createInferRuntime_INTERNAL(void *logger, int version) { (void)logger; (void)version; return NULL; }
void *getBuilderPluginRegistry(int capability) { (void)capability; return NULL; }
void *getPluginRegistry(void) { return NULL; }
#endif

#ifdef PARSER
void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) {
    (void)network; (void)logger; (void)version; return NULL;
}
void *createNvOnnxParserRefitter_INTERNAL(void *refitter, void *logger, int version) {
    (void)refitter; (void)logger; (void)version; return NULL;
}
int getNvOnnxParserVersion(void) { return 0; }
#endif

#ifdef PLUGIN
int initLibNvInferPlugins(void *logger, const char *space) { (void)logger; (void)space; return 0; }
#endif
