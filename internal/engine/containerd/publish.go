package containerd

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
	"github.com/berth-hpc/berth/internal/image"
)

// Labels of the container of a first node whose ports are published: the address of the host, and the ports, as
// "tcp/22/2222 udp/53/53" with the numbers outside and inside.
const (
	labelPublic = "berth/public-address"
	labelPorts  = "berth/public-ports"
)

// maxPorts is how many ports an attempt can publish: containerd's labels have at most 4096 bytes.
const maxPorts = 200

// labelPublication adds to the labels of a first node what is published of it.
func labelPublication(labels map[string]string, p bridge.Publication) error {
	if len(p.Ports) > maxPorts {
		return image.Refuse("%d ports are published; at most %d can be", len(p.Ports), maxPorts)
	}
	ports := make([]string, len(p.Ports))
	for i, port := range p.Ports {
		ports[i] = fmt.Sprintf("%s/%d/%d", port.Protocol, port.Outside(), port.Number)
	}
	labels[labelPublic], labels[labelPorts] = p.Address, strings.Join(ports, " ")
	return nil
}

// publicationOf returns what is published of a first node; false when it is nothing.
func publicationOf(labels map[string]string) (bridge.Publication, bool) {
	to, err := netip.ParseAddr(labels[labelAddress])
	if err != nil || labels[labelPublic] == "" {
		return bridge.Publication{}, false
	}
	p := bridge.Publication{Publish: engine.Publish{Address: labels[labelPublic]}, To: to}
	for text := range strings.FieldsSeq(labels[labelPorts]) {
		protocol, numbers, _ := strings.Cut(text, "/")
		port := engine.Port{Protocol: protocol}
		if _, err := fmt.Sscanf(numbers, "%d/%d", &port.Host, &port.Number); err != nil {
			return bridge.Publication{}, false
		}
		p.Ports = append(p.Ports, port)
	}
	return p, true
}
