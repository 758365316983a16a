package agent

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// openMPI is where programs of the platform look for an Open MPI.
	openMPI = "/opt/JARVICE/openmpi"
	// ptraceScope says who may look into the memory of whom: 0 is everybody into that of the same user.
	ptraceScope = "/proc/sys/kernel/yama/ptrace_scope"
	infiniband  = "/dev/infiniband"
)

// configureMPI makes the image's Open MPI known where programs of the platform look for one, and finds out what MPI programs may use.
func (s *setup) configureMPI() error {
	shared, provider := crossMemory(), s.fabric()
	s.mpi = map[string]string{"JARVICE_MPI_CMA": strconv.FormatBool(shared), "JARVICE_MPI_PROVIDER": provider}
	if len(s.spec.Nodes) > 1 {
		if !shared {
			s.out.say("WARNING: Cross Memory Attach not available for MPI applications")
		}
		s.out.say("Detected preferred MPI fabric provider: %s", provider)
	}
	if !s.root.exists(openMPI) {
		prefix := s.openMPIPrefix()
		if prefix == "" {
			return nil
		}
		if err := s.root.symlink(openMPI, prefix); err != nil {
			return err
		}
	}
	s.mpi["OPENMPI_DIR"] = openMPI
	return nil
}

// openMPIDefaults are what Open MPI cannot find out by itself, because it sees the cores of the whole machine: how many processes a node
// runs that a list of hosts names once, and that nodes may share a machine, where the first process of each would be bound to the same
// core. The image and the user may say otherwise.
func (s *setup) openMPIDefaults() map[string]string {
	if len(s.spec.Nodes) == 1 && s.mpi["OPENMPI_DIR"] == "" {
		return nil
	}
	return map[string]string{
		"OMPI_MCA_hwloc_base_binding_policy": "none",
		"OMPI_MCA_orte_set_default_slots":    strconv.Itoa(max(1, s.spec.Nodes[0].Cores)),
	}
}

// openMPIPrefix returns where the Open MPI of the PATH is installed, "" when there is none. Other MPIs have an mpirun too, but no
// ompi_info.
func (s *setup) openMPIPrefix() string {
	for dir := range strings.SplitSeq(s.path, ":") {
		if path.Base(dir) == "bin" && s.root.exists(dir+"/mpirun") && s.root.exists(dir+"/ompi_info") {
			return path.Dir(dir)
		}
	}
	return ""
}

// fabric is what MPI programs talk by: verbs when this node has a device for it, else tcp.
func (s *setup) fabric() string {
	if s.root.exists(infiniband) {
		return "verbs"
	}
	return "tcp"
}

// crossMemory says whether the processes of the user may copy from each other's memory: whether there is the system call for it, and
// the kernel lets one process look into another.
func crossMemory() bool {
	if _, err := unix.ProcessVMReadv(os.Getpid(), nil, nil, 0); err != nil { // of nothing: it says whether there is the call
		return false
	}
	scope, err := os.ReadFile(ptraceScope)
	return err != nil || strings.TrimSpace(string(scope)) == "0" // without the file the kernel has no such rule
}
