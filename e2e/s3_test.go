package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/s3test"
)

type s3Key struct{}

// s3Story is the S3 server of a story.
type s3Story struct{ server *s3test.Server }

// s3Bucket is the one bucket of a story's server.
const s3Bucket = "results"

// s3Cmd: s3 start | kill | put KEY TEXT | get KEY | list. start sets S3 and makes a bucket and the file keys with the credentials.
func s3Cmd(ts *testscript.TestScript, neg bool, args []string) {
	story, ok := ts.Value(s3Key{}).(*s3Story)
	if !ok || len(args) == 0 {
		ts.Fatalf("usage: s3 start|kill|put|get|list")
	}
	var err error
	switch args[0] {
	case "start":
		err = story.start(ts)
	case "kill":
		story.server.Kill()
	case "put":
		_, err = story.client(ts).PutObject(context.Background(), s3Bucket, args[1], strings.NewReader(args[2]), int64(len(args[2])), minio.PutObjectOptions{})
	case "get":
		err = story.get(ts, args[1])
	case "list":
		err = story.list(ts)
	default:
		ts.Fatalf("unknown: s3 %s", args[0])
	}
	if (err != nil) != neg {
		ts.Fatalf("s3 %s: %v", strings.Join(args, " "), err)
	}
}

func (s *s3Story) client(ts *testscript.TestScript) *minio.Client {
	client, err := s.server.Client()
	ts.Check(err)
	return client
}

func (s *s3Story) start(ts *testscript.TestScript) (err error) {
	if s.server != nil {
		return s.server.Start()
	}
	if s.server, err = s3test.New(context.Background(), ".."); err != nil {
		return err
	}
	ts.Defer(func() { ts.Check(s.server.Close()) })
	ts.Setenv("S3", s.server.URL)
	ts.Setenv("S3_SECRET", s3test.SecretKey)
	keys := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s3test.AccessKey, s3test.SecretKey)
	if err := os.WriteFile(filepath.Join(ts.Getenv("WORK"), "keys"), []byte(keys), 0o600); err != nil {
		return err
	}
	return s.client(ts).MakeBucket(context.Background(), s3Bucket, minio.MakeBucketOptions{})
}

func (s *s3Story) get(ts *testscript.TestScript, key string) error {
	object, err := s.client(ts).GetObject(context.Background(), s3Bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer object.Close()
	_, err = io.Copy(ts.Stdout(), object)
	return err
}

func (s *s3Story) list(ts *testscript.TestScript) error {
	var keys []string
	for info := range s.client(ts).ListObjectsIter(context.Background(), s3Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			return info.Err
		}
		keys = append(keys, info.Key)
	}
	slices.Sort(keys)
	_, err := fmt.Fprintln(ts.Stdout(), strings.Join(keys, "\n"))
	return err
}
