"""Hot restarts under load: is any call lost, failed, doubled or overtaken, and how long do callers wait?"""
