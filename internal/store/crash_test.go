package store_test

const childEnv = "BERTH_STORE_TEST_CHILD"

func runChild(string) int { return 0 }
