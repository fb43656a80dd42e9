package redisstore

// ForgetScript is the hash by which the script that removes announcements is called.
var ForgetScript = forgetScript.Hash()
