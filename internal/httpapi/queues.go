package httpapi

import (
	"strconv"

	"github.com/berth-hpc/berth"
)

// queueEntry is a queue as /jarvice/queues shows it.
type queueEntry struct {
	Name        string `json:"name"`
	Application string `json:"app"`
	Machine     string `json:"machine"`
	Size        int    `json:"size"`
}

// queues answers in the form that the parameter info asks for: clients want names, an object or a list, and none takes another.
func (s *server) queues(c *call, caller berth.Caller, p params) error {
	queues, err := s.control.Queues(c.r.Context(), caller, allByName(p.text("name")))
	if err != nil {
		return err
	}
	names, list, byName := []string{}, []queueEntry{}, map[string]queueEntry{}
	for _, q := range queues {
		entry := queueEntry(q)
		names, list, byName[q.Name] = append(names, q.Name), append(list, entry), entry
	}
	info, err := strconv.ParseInt(p.text("info"), 10, 64)
	switch {
	case err == nil && info != 0:
		return c.writeJSON(list)
	case p.flag("info"):
		return c.writeJSON(byName)
	default:
		return c.writeJSON(names)
	}
}

// allByName returns a name, empty for the one that means all.
func allByName(name string) string {
	if name == "all" {
		return ""
	}
	return name
}

// queueAnswer is a queue as our own API shows it.
type queueAnswer struct {
	Name        string `json:"name"`
	Application string `json:"application"`
	Machine     string `json:"machine"`
	Size        int    `json:"size"`
}

func (s *server) listQueues(c *call, caller berth.Caller, _ params) error {
	queues, err := s.control.Queues(c.r.Context(), caller, "")
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Queues []queueAnswer `json:"queues"`
	}{each(queues, func(q berth.Queue) queueAnswer { return queueAnswer(q) })})
}

// setQueue makes or replaces a queue.
func (s *server) setQueue(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("application", "machine", "size")
	if err != nil {
		return err
	}
	queue := berth.Queue{
		Name: c.r.PathValue("name"), Application: d.word("application", m["application"]), Machine: d.required("machine", m["machine"]),
		Size: d.whole("size", m["size"], bounds{fallback: 1, low: 1, high: maxCount}),
	}
	if err := d.err(); err != nil {
		return err
	}
	if err := s.control.SetQueue(c.r.Context(), caller, queue); err != nil {
		return err
	}
	return c.writeJSON(struct {
		Queue queueAnswer `json:"queue"`
	}{queueAnswer(queue)})
}

func (s *server) removeQueue(c *call, caller berth.Caller, _ params) error {
	if err := s.control.RemoveQueue(c.r.Context(), caller, c.r.PathValue("name")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}
