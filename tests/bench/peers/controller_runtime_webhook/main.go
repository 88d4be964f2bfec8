// A minimal mutating webhook on controller-runtime, the way most Go webhooks are written: it decodes the pod into corev1.Pod,
// rewrites the images that one fixed grant covers, appends the pull Secret, and lets the library compute the patch.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// grant is what our own webhook finds in memory: here it is a constant.
type grant struct {
	host, prefix, secret string
}

type rewriter struct {
	grant   grant
	decoder admission.Decoder
}

func (r *rewriter) Handle(_ context.Context, request admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := r.decoder.Decode(request, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	originals := map[string]string{}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if image := containers[i].Image; strings.HasPrefix(image, r.grant.prefix) {
				originals[containers[i].Name] = image
				containers[i].Image = r.grant.host + "/" + image
			}
		}
	}
	if len(originals) > 0 {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: r.grant.secret})
		kept, err := json.Marshal(originals)
		if err != nil {
			return admission.Errored(http.StatusInternalServerError, err)
		}
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations["registry.akua.dev/original-images"] = string(kept)
	}
	mutated, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, mutated)
}

func main() {
	host := flag.String("host", "127.0.0.1", "address to listen on")
	port := flag.Int("port", 9443, "port to listen on")
	certificates := flag.String("certificates", ".", "folder with tls.crt and tls.key")
	prefix := flag.String("prefix", "ghcr.io/acme/", "images to rewrite")
	flag.Parse()
	log.SetLogger(zap.New())
	manager, err := ctrl.NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, ctrl.Options{
		Metrics:       metrics.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{Host: *host, Port: *port, CertDir: *certificates}),
	})
	exit(err)
	handler := &rewriter{grant{"oci.akua.dev", *prefix, "akua-pull-shop"}, admission.NewDecoder(manager.GetScheme())}
	manager.GetWebhookServer().Register("/mutate", &webhook.Admission{Handler: handler})
	exit(manager.Start(ctrl.SetupSignalHandler()))
}

func exit(err error) {
	if err != nil {
		log.Log.Error(err, "cannot go on")
		os.Exit(1)
	}
}
